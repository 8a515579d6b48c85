"""Stage 2b: what speaks for each expert on this question, from measured profiles. Pure.

P(correct) is a hierarchy of shrunken rates: an expert's skill rate leans on its category rate, that on its
overall rate, that on the pool's mean; each level counts as `prior_strength` observations, so that thin
profiles stay close to what is known one level up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from router.profiles import UNMEASURED_OUTPUT_TOKENS, Profile, Profiles
from router.records import Candidate, CategoryScores, Evidence, SkillScores


class Prediction(NamedTuple):
    """P(correct), and how many calibration answers of which level stand behind it."""

    p: float
    observations: int
    evidence: Evidence


def pool_mean(profiles: Profiles) -> float:
    """Share of all calibration answers that were right, by Laplace's rule: never certain; 0.5 when none was asked."""
    right = sum(p.overall.right for p in profiles.experts.values())
    asked = sum(p.overall.asked for p in profiles.experts.values())
    return (right + 1) / (asked + 2)


def predict(
    profile: Profile, mean: float, categories: CategoryScores, skills: SkillScores, strength: float
) -> Prediction:
    """One expert's P(correct) on one question.

    Skills decide where they are known; otherwise the categories, weighted by their probabilities.
    """
    overall = profile.overall.rate(mean, strength)
    by_category, in_category = 0.0, 0
    for category, probability in categories.probabilities.items():
        count = profile.categories.get(category)
        by_category += probability * (count.rate(overall, strength) if count else overall)
        in_category += count.asked if count else 0
    by_skill, in_skills = 0.0, 0
    for skill, weight in skills.weights.items():
        count = profile.skills.get(skill)
        by_skill += weight * (count.rate(by_category, strength) if count else by_category)
        in_skills += count.asked if count else 0
    if in_skills:
        return Prediction(by_skill, in_skills, "skill")
    if in_category:
        return Prediction(by_category, in_category, "category")
    return Prediction(overall, profile.overall.asked, "overall")


def candidates(
    experts: Iterable[str],
    profiles: Profiles,
    categories: CategoryScores,
    skills: SkillScores,
    *,
    strength: float,
    usd_per_token: Mapping[str, tuple[float, float]],
    prompt_tokens: int,
    excluded: Mapping[str, str],
) -> tuple[Candidate, ...]:
    """What is known of every expert, in the given order (`ranking.ranked` decides who comes first).

    Args:
        usd_per_token: expert -> (per prompt token, per output token).
        prompt_tokens: estimate for this query.
        excluded: expert -> why it must not be asked (a hard filter, not a preference).

    An expert without a profile gets the pool's mean and 0 observations: visible, never silently random.
    """
    mean = pool_mean(profiles)
    found = []
    for expert in experts:
        profile = profiles.experts.get(expert)
        known = predict(profile, mean, categories, skills, strength) if profile else Prediction(mean, 0, "pool")
        output = profile.mean_output_tokens if profile else UNMEASURED_OUTPUT_TOKENS
        per_prompt, per_output = usd_per_token[expert]
        found.append(
            Candidate(
                expert=expert,
                p_correct=known.p,
                observations=known.observations,
                usd_per_query=prompt_tokens * per_prompt + output * per_output,
                excluded=excluded.get(expert),
                evidence=known.evidence,
            )
        )
    return tuple(found)
