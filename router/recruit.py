"""Stage 2b: what is known of every expert on this question: P(right), its price, why it is out. Pure."""

from __future__ import annotations

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

    An expert without a profile gets the pool's mean and 0 observations: visible, never silently random.
    """
    places = rates.places
    found = []
    for expert in experts:
        place, output = places.get(expert), profiles.output_tokens(expert)
        per_prompt, per_output = usd_per_token[expert]
        found.append(
            Candidate(
                expert=expert,
                p_correct=rates.mean if place is None else float(predicted.p[row, place]),
                rate=rates.mean if place is None else float(predicted.rate[row, place]),
                observations=0 if place is None else int(predicted.observations[row, place]),
                usd_per_query=prompt_tokens * per_prompt + output * per_output,
                excluded=excluded.get(expert),
                evidence="pool" if place is None else LEVELS[predicted.level[row, place]],
            )
        )
    return tuple(found)
