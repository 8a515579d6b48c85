"""How long an expert is expected to take, and how much it says: from the calls that have ended. Pure.

Of the last calls of each expert: time to first token (TTFT) and time per token after it (TPOT), by how many calls were
under way when each was sent; output tokens by category. A call that was cut, or timed out, counts as at least so long
(Kaplan and Meier's estimate). What is read is a table that was made when calls ended, so that reading costs next to
nothing.

Plans go by quantiles of whole answers, and quantiles do not add: where TTFT and TPOT do not move together, the sum of
both 0.95 quantiles is exceeded by 4 of 100 where it should be by 5. So the TPOT of a quantile q is what makes the sum
hold: the q quantile of (duration - q quantile of TTFT) / (tokens - 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from router.outlook import EARLY, LATE, USUAL, Outlook, Pace

LAST_CALLS = 512  # of each expert
LAST_ANSWERS = 256  # of each expert and category
MIN_CALLS = 20  # a quantile of fewer would be a guess
LEVEL_CALLS = 40  # that a level of load is seen by on its own: two of them lie beyond the last quantile
LEVELS = 12  # of load: 1, 2 - 3, 4 - 7, and so on
REFIT_SHARE = 1 / 32  # of the calls known are new: the table is made again
P95_OF_MEAN = 3.0  # before lengths are known: of an exponential distribution
CUT = ("cut", "cancelled", "stopped", "deadline", "timeout")  # outcomes of calls that would have gone on
QUANTILES = (EARLY, USUAL, LATE)
Array = NDArray[np.float64]
Paces = tuple[Pace, Pace, Pace]


@dataclass(slots=True)
class _Ring:
    """The last rows of numbers; the oldest makes room. `new`: since the table was made of them."""

    rows: Array
    count: int = 0
    new: int = 0

    def add(self, *row: float) -> bool:
        """Whether it is time to make the table again."""
        self.rows[self.count % len(self.rows)] = row
        self.count += 1
        self.new += 1
        due = self.new >= REFIT_SHARE * min(self.count, len(self.rows))
        self.new = 0 if due else self.new
        return due

    def columns(self) -> Array:
        """Shape (columns, rows)."""
        return self.rows[: self.count].T


@dataclass(slots=True)
class _Expert:
    """`calls`: level of load, TTFT, duration, tokens that came. `paces`: by level; empty: not known."""

    calls: _Ring = field(default_factory=lambda: _Ring(np.zeros((LAST_CALLS, 4))))
    paces: tuple[Paces, ...] = ()


@dataclass(slots=True)
class _Lengths:
    """`answers`: output tokens, and whether the answer ended there by itself. `p95`: None until enough are known."""

    answers: _Ring = field(default_factory=lambda: _Ring(np.zeros((LAST_ANSWERS, 2))))
    mean: float = 0.0
    p95: float | None = None


class Forecast:
    """What is expected of each expert. One per router replica."""

    def __init__(self) -> None:
        self._experts: dict[str, _Expert] = {}
        self._lengths: dict[tuple[str, str], _Lengths] = {}

    def ended(
        self,
        expert: str,
        load: int,
        ttft_s: float | None,
        seconds: float,
        output_tokens: int | None,
        category: str,
        outcome: str,
        max_tokens: int | None = None,
    ) -> None:
        """One call came to its end.

        Args:
            load: calls under way at the expert when it was sent, itself included.
            ttft_s: from when it was sent; None where no token came.
            seconds: until its end.
            output_tokens: of one sample, as far as it came; None: not known.
            category: "" where nobody classified; all answers together are known by that name, too.
            outcome: as in `LegEnded`. Of calls that failed otherwise than by time nothing is learned.
            max_tokens: that its answer was bounded by: one that reached it might have been longer.
        """
        answered = outcome == "answered"
        if not answered and outcome not in CUT:
            return
        self._timed(expert, load, ttft_s, seconds, output_tokens or 0, answered)
        if output_tokens:
            whole = answered and (max_tokens is None or output_tokens < max_tokens)
            for name in {category, ""}:  # "": of all
                self._measured(expert, name, output_tokens, whole)

    def outlook(  # noqa: PLR0913  # all that an outlook is made of
        self,
        expert: str,
        category: str,
        *,
        prompt_nanos: int,
        token_nanos: float,
        room: int,
        wait_s: float,
        load: int,
        mean_tokens_prior: float,
        wake_s: float = 0.0,
    ) -> Outlook:
        """What asking this expert now is expected to take.

        Args:
            load: calls under way, with this one.
            mean_tokens_prior: output tokens on the mean by its profile: what counts before answers have come.
            wake_s: until it is awake, where it sleeps.
        """
        mean, p95 = self.tokens(expert, category, mean_tokens_prior)
        paces = self.paces(expert, load)
        early, usual, late = paces or (Pace(), Pace(), Pace())
        return Outlook(
            expert=expert,
            prompt_nanos=prompt_nanos,
            token_nanos=token_nanos,
            tokens=p95,
            mean_tokens=mean,
            room=room,
            wait_s=max(wait_s, wake_s),
            early=early,
            usual=usual,
            late=late,
            known=paces is not None,
        )

    def needs_s(self, expert: str, load: int, mean_tokens_prior: float, max_tokens: int | None) -> float:
        """What half of its answers take, of no known category; 0 where nobody knows.

        Whoever asks for more to be left once a turn comes refuses many that would have been in time: measured beside an
        admission that knows all durations (`loadtest/deadlines.py`), 4 of 5 cost 11 % of the requests at 1.3 times the
        load that can be served, and served fewer.
        """
        paces = self.paces(expert, load)
        if paces is None:
            return 0.0
        mean, _ = self.tokens(expert, "", mean_tokens_prior)
        return paces[1].seconds(round(mean if max_tokens is None else min(mean, max_tokens)))

    def paces(self, expert: str, load: int) -> Paces | None:
        """At the quantiles EARLY, USUAL and LATE; None: not known."""
        known = self._experts.get(expert)
        return known.paces[_level(load)] if known is not None and known.paces else None

    def tokens(self, expert: str, category: str, prior: float) -> tuple[float, int]:
        """Output tokens of an answer: on the mean, and that it will not exceed in 95 of 100 cases.

        `prior` is a mean that counts as much as `MIN_CALLS` answers.
        """
        known = self._lengths.get((expert, category))
        if known is None:
            return prior, max(1, round(P95_OF_MEAN * prior))
        answers = min(known.answers.count, LAST_ANSWERS)
        mean = (MIN_CALLS * prior + answers * known.mean) / (MIN_CALLS + answers)
        return mean, max(1, round(P95_OF_MEAN * mean if known.p95 is None else known.p95))

    def _timed(self, expert: str, load: int, ttft_s: float | None, seconds: float, tokens: int, answered: bool) -> None:
        if ttft_s is None and answered:
            return  # a whole answer that came at once
        known = self._experts.setdefault(expert, _Expert())
        first_s = seconds if ttft_s is None else ttft_s
        row = (_level(load), first_s, seconds, 0 if ttft_s is None else max(tokens, 1))
        if known.calls.add(*row) and known.calls.count >= MIN_CALLS:
            known.paces = _table(known.calls.columns())

    def _measured(self, expert: str, category: str, tokens: int, whole: bool) -> None:
        known = self._lengths.setdefault((expert, category), _Lengths())
        if known.answers.add(tokens, whole):
            lengths, ends = known.answers.columns()
            steps, alive = survival(lengths, ends > 0)
            known.mean = float(np.sum(np.diff(steps, prepend=0.0) * np.concatenate(([1.0], alive[:-1]))))
            known.p95 = quantiles(lengths, ends > 0, (LATE,))[0] if len(lengths) >= MIN_CALLS else None


def survival(values: Array, seen: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Kaplan and Meier's estimate: values in order, and the share that exceeds each. `seen`: the others are at least so
    large.
    """
    order = np.lexsort((~seen, values))  # of equal ones those first that are known
    at_risk = np.arange(len(values), 0, -1)
    return values[order], np.cumprod(1 - seen[order] / at_risk)


def quantiles(values: Array, seen: NDArray[np.bool_], qs: Sequence[float]) -> list[float]:
    """Of each q the smallest value that a share q does not exceed; beyond all that is known, the largest."""
    if seen.all():
        steps, shares = np.sort(values), np.arange(1, len(values) + 1) / len(values)
    else:
        steps, alive = survival(values, seen)
        shares = 1 - alive
    found = np.searchsorted(shares, np.array(qs) - 1e-12)
    return [float(value) for value in steps[np.minimum(found, len(steps) - 1)]]


def _level(load: int) -> int:
    return min(max(load, 1).bit_length() - 1, LEVELS - 1)


def _table(calls: Array) -> tuple[Paces, ...]:
    """Paces by level of load; levels with few calls go by their neighbours', and no level is quicker than a lower one.

    `calls`: shape (4, calls): level, TTFT, duration, tokens; without tokens none came, and TTFT is "at least".
    """
    of_level = calls[0].astype(int)
    groups = _groups(np.bincount(of_level, minlength=LEVELS))
    members = [calls[1:, (of_level >= low) & (of_level <= high)] for low, high in groups]
    weights = [float(group.shape[1]) for group in members]
    rising = [_rising(values, weights) for values in zip(*map(_figures, members), strict=True)]
    table: list[Paces] = []
    for (low, high), row in zip(groups, zip(*rising, strict=True), strict=True):
        early, usual, late = map(Pace, row[: len(QUANTILES)], row[len(QUANTILES) :])
        table += [(early, usual, late)] * (high - low + 1)
    return tuple(table)


def _groups(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Levels from - to, with at least LEVEL_CALLS calls each where there are so many."""
    groups, low, held = list[tuple[int, int]](), 0, 0
    for level, calls in enumerate(counts):
        held += int(calls)
        if held >= LEVEL_CALLS:
            groups.append((low, level))
            low, held = level + 1, 0
    if not groups:
        return [(0, len(counts) - 1)]
    return [*groups[:-1], (groups[-1][0], len(counts) - 1)]  # the few above go with the last


def _figures(calls: Array) -> tuple[float, ...]:
    """TTFT at each of the quantiles, then what makes the durations hold: TPOT."""
    first_s, seconds, tokens = calls
    came, several = tokens > 0, tokens > 1
    ttft = quantiles(first_s, came, QUANTILES)
    if not several.any():
        return (*ttft, *(0.0 for _ in QUANTILES))
    # One that was cut before its first token would have been as long as is usual.
    further = np.where(several, tokens - 1, np.median(tokens[several]) - 1)
    timed = several | ~came
    further, seconds, known = further[timed], seconds[timed], several[timed]
    tpot = [quantiles((seconds - ttft[k]) / further, known, (q,))[0] for k, q in enumerate(QUANTILES)]
    return (*ttft, *accumulate((max(value, 0.0) for value in tpot), max))


def _rising(values: Sequence[float], weights: list[float]) -> list[float]:
    """The closest values that do not fall (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []  # value, weight, how many
    for value, weight in zip(values, weights, strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, wa, na), (b, wb, nb) = pools[-2:]
            pools[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return [value for value, _, many in pools for _ in range(many)]
