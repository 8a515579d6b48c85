"""What recorded calls cost to the nanodollar, and how long they are taken to have taken.

No times are recorded anywhere. They are modelled from what decoding is bound by, reading the active parameters once a
token, with a spread by chance. Must not know who is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.money import NANOS
from router.outcome_costs import Model
from router.outcomes import Outcomes
from router.outlook import Pace

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds to the first token, and per token after it: a constant, and so much per billion of active parameters.

    A call takes exp(spread z) times that, z by chance (normal).
    """

    ttft_s: float = 0.1
    tpot_s: float = 0.003
    tpot_s_per_b: float = 0.0005
    spread: float = 0.3

    def pace(self, params_b: float, quantile: float) -> Pace:
        times = math.exp(self.spread * NormalDist().inv_cdf(quantile))
        return Pace(times * self.ttft_s, times * (self.tpot_s + self.tpot_s_per_b * params_b))


CLOCK = Clock()


class Costs(NamedTuple):
    """What is known of calls, [N, E] where not said otherwise: `prompt_nanos`, output `tokens`, what one costs [E],
    by how much each call is slower than usual, and experts' active parameters [E].
    """

    prompt_nanos: NDArray[np.int64]
    tokens: NDArray[np.int64]
    token_nanos: NDArray[np.float64]
    slower: NDArray[np.float64]
    params_b: NDArray[np.float64]


def costs(outcomes: Outcomes, models: Mapping[str, Model], seed: int) -> Costs:
    """Raises ValueError where prices, sizes, lengths or answers are not known of all experts."""
    if outcomes.usd_from != "prices" or outcomes.tokens is None or outcomes.answers is None:
        raise ValueError("budgets need recorded answers and output tokens, and prices of all models (--models)")
    known = [models[name] for name in outcomes.experts]
    if lacking := [name for name, model in zip(outcomes.experts, known, strict=True) if model.params_b is None]:
        raise ValueError(f"budgets need each model's size, which its speed is modelled from; none of '{lacking[0]}'")
    per_token = np.array([model.price_out or 0.0 for model in known]) * NANOS / 1e6
    tokens = np.maximum(np.rint(outcomes.tokens), 1).astype(np.int64)
    prompts = np.maximum(np.rint(outcomes.usd * NANOS - outcomes.tokens * per_token), 0).astype(np.int64)
    slower = np.exp(CLOCK.spread * np.random.default_rng(seed).standard_normal(tokens.shape))
    return Costs(prompts, tokens, per_token, slower, np.array([model.params_b for model in known]))
