"""Stage 2b: what is known of every expert on this question: P(right), its price, why it is out. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from router.profiles import Profiles
from router.rates import LEVELS, Predicted, Rates
from router.records import Candidate


def candidates(
    experts: Iterable[str],
    profiles: Profiles,
    rates: Rates,
    predicted: Predicted,
    *,
    usd_per_token: Mapping[str, tuple[float, float]],
    prompt_tokens: int,
    excluded: Mapping[str, str],
    row: int = 0,
) -> tuple[Candidate, ...]:
    """What is known of every expert, in the given order (`ranking.ranked` decides who comes first).

    Args:
        predicted: of the rates' experts; `row` is this question's.
        usd_per_token: expert -> (per prompt token, per output token).
        prompt_tokens: estimate for this query.
        excluded: expert -> why it must not be asked (a hard filter, not a preference).

    An expert without a profile gets what the others have on the mean, and 0 observations: visible, never silently
    random, and not preferred for what is hard, as only the others are known to fail.
    """
    places = rates.places
    p, rate = (values[row].mean() if places else rates.mean for values in (predicted.p, predicted.rate))
    found = []
    for expert in experts:
        place, output = places.get(expert), profiles.output_tokens(expert)
        per_prompt, per_output = usd_per_token[expert]
        observations = 0 if place is None else int(predicted.observations[row, place])
        p_correct = float(p if place is None else predicted.p[row, place])
        found.append(
            Candidate(
                expert=expert,
                p_correct=p_correct,
                p_spread=spread(p_correct, observations + rates.strength),
                rate=float(rate if place is None else predicted.rate[row, place]),
                observations=observations,
                usd_per_query=prompt_tokens * per_prompt + output * per_output,
                excluded=excluded.get(expert),
                evidence="pool" if place is None else LEVELS[predicted.level[row, place]],
            )
        )
    return tuple(found)


def spread(p: float, evidence: float) -> float:
    """How sure P(right) is: the standard deviation of a Beta of mean p worth so many observations, the prior's too."""
    return math.sqrt(p * (1 - p) / (evidence + 1))
