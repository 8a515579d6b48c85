"""What recorded calls cost: a table of models, and from it, with token counts, the cost of every call.

Reads models.csv. Must not know who is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from router.outcome_files import csv_number, csv_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

UsdFrom = Literal["prices", "parameters", "calls"]
PER_M = 1e6  # prices are for so many tokens
SHOWN_NAMES = 3  # in a note
COLUMNS = ("price_in_per_m", "price_out_per_m", "params_active_b", "params_total_b")


@dataclass(frozen=True, slots=True)
class Model:
    """A row of models.csv; None where a cell is empty.

    Attributes:
        price_in, price_out: USD per million tokens.
        params_b: billions of parameters that are active for a token; all of them where that is not known.
    """

    price_in: float | None
    price_out: float | None
    params_b: float | None

    @property
    def prices(self) -> tuple[float, float] | None:
        """(input, output) in USD per million tokens, where both are known."""
        return None if self.price_in is None or self.price_out is None else (self.price_in, self.price_out)


def read_models(path: Path) -> dict[str, Model]:
    """models.csv by name; only its column `model` must be there, and an empty cell is one that is not known.

    Raises:
        ValueError: the file cannot be read, a name comes twice, or a price or size is no number of 0 or more; says
            which line.
    """
    found: dict[str, Model] = {}
    for line, row in csv_rows(path, "model"):
        if (name := row["model"]) in found:
            raise ValueError(f"{path}:{line}: '{name}' comes twice; keep one of its rows")
        price_in, price_out, active, total = (
            csv_number(path, line, column, row[column], "leave it empty where it is not known")
            if row.get(column)
            else None
            for column in COLUMNS
        )
        found[name] = Model(price_in, price_out, total if active is None else active)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """Token counts and the cost of calls, without NaN.

    Attributes:
        tokens: [N, E] output tokens; None where not one is recorded.
        usd: [N, E]; None where every call counts 1.
        usd_from: "prices": USD. "parameters": a stand-in for it, active parameters in billions × (input + output
            tokens) / 1e6. "calls": 1 for each. One measure for all experts, so that they can be compared.
    """

    tokens: NDArray[np.float64] | None
    usd: NDArray[np.float64] | None
    usd_from: UsdFrom


def price(
    experts: Sequence[str],
    q_tokens: NDArray[np.float64] | None,
    out_tokens: NDArray[np.float64] | None,
    models: Mapping[str, Model],
) -> tuple[Priced, list[str]]:
    """What each call costs, in the best measure that is known of all experts: USD by prices, else active parameters
    times tokens, else 1 (`Priced`).

    Args:
        q_tokens: [N] input tokens of each question; out_tokens: [N, E] output tokens of each call; both NaN where a
            count is missing, and None where there is none.
        models: by name; an expert that is not there has neither prices nor parameters.

    Returns:
        The costs, and notes for a person on what stands in for what. A missing count is taken to be the mean: of the
        questions; of the expert's calls, else of all calls.
    """
    tokens, guessed = (None, 0) if out_tokens is None else _filled(out_tokens)
    asked = None if q_tokens is None else _filled(q_tokens[:, None])[0]
    if tokens is None:
        return Priced(None, None, "calls"), ["every call costs 1: no output tokens are recorded"]
    notes = (
        [f"output tokens of {guessed:,} of {tokens.size:,} calls are not recorded: means stand in"] if guessed else []
    )
    usd, usd_from, why = _cost(experts, np.zeros((len(tokens), 1)) if asked is None else asked, tokens, models)
    if why:
        notes.append(why)
    if asked is None and usd_from != "calls":
        notes.append("costs are of output tokens alone: the questions have no q_tokens")
    return Priced(tokens, usd, usd_from), notes


def _cost(
    experts: Sequence[str], asked: NDArray[np.float64], tokens: NDArray[np.float64], models: Mapping[str, Model]
) -> tuple[NDArray[np.float64] | None, UsdFrom, str]:
    """Args: asked: [N, 1] input tokens."""
    known = [models.get(name, Model(None, None, None)) for name in experts]
    prices = {name: model.prices for name, model in zip(experts, known, strict=True) if model.prices}
    if len(prices) == len(experts):
        per_in, per_out = np.array(list(prices.values())).T
        return (asked * per_in + tokens * per_out) / PER_M, "prices", ""
    lacking = _some([name for name in experts if name not in prices])
    sizes = {name: model.params_b for name, model in zip(experts, known, strict=True) if model.params_b is not None}
    if len(sizes) == len(experts):
        note = f"costs stand in for USD (billions of active parameters × tokens / 1e6): no prices of {lacking}"
        return np.array(list(sizes.values())) * (asked + tokens) / PER_M, "parameters", note
    without = _some([name for name in experts if name not in sizes])
    return None, "calls", f"every call costs 1: no prices of {lacking}, no parameters of {without}"


def _filled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, int]:
    """[N, E] with each NaN replaced by its column's mean, or by all columns' where that has none; and how many were.

    None where no number is known.
    """
    known = ~np.isnan(values)
    if not known.any():
        return None, 0
    counts, sums = known.sum(axis=0), np.where(known, values, 0).sum(axis=0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), sums.sum() / counts.sum())
    return np.where(known, values, means), int(known.size - known.sum())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (
        f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    )
