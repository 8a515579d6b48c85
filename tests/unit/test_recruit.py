"""Stage 2b: shrunken rates of correctness, cost, and why somebody is out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.profiles import UNMEASURED_OUTPUT_TOKENS, Count, Profile, Profiles
from router.rates import LEVELS, Rates
from router.records import Candidate, CategoryScores, SkillScores
from router.recruit import candidates
from tests.unit.make import categories, predicted

MATH = categories({"math": 0.8, "text": 0.2})
NO_SKILLS = SkillScores({})
COUNTS = st.integers(0, 50).flatmap(lambda asked: st.builds(Count, right=st.integers(0, asked), asked=st.just(asked)))
PROFILES = st.builds(
    Profile,
    expert_version=st.just("1"),
    engine_version=st.just("1"),
    questions=st.just("1"),
    overall=COUNTS,
    categories=st.dictionaries(st.sampled_from(["math", "text"]), COUNTS),
    skills=st.dictionaries(st.sampled_from(["sums", "words"]), COUNTS),
)
SKILLS = st.sampled_from([NO_SKILLS, SkillScores({"sums": 1.0}), SkillScores({"sums": 0.7, "words": 0.3})])


def profile(overall: tuple[int, int], **more: dict[str, tuple[int, int]]) -> Profile:
    """A profile from (right, asked) pairs."""
    counts: dict[str, Any] = {
        level: {name: Count(right=right, asked=asked) for name, (right, asked) in pairs.items()}
        for level, pairs in more.items()
    }
    versions: dict[str, Any] = dict.fromkeys(("expert_version", "engine_version", "questions"), "1")
    overall_count = Count(right=overall[0], asked=overall[1])
    return Profile(**versions, **counts, overall=overall_count, output_tokens=128 * overall[1])


def predict(known: Profile, scores: CategoryScores, skills: SkillScores, strength: float) -> tuple[float, int, str]:
    """P(right), observations and evidence of a pool of one."""
    _, found = predicted({"ada": known}, scores, skills, strength)
    return float(found.p[0, 0]), int(found.observations[0, 0]), LEVELS[found.level[0, 0]]


def recruited(profiles: dict[str, Profile], *experts: str, **excluded: str) -> tuple[Candidate, ...]:
    """Candidates for a question of known category and unknown skill, at 1e-6 and 2e-6 dollars a token."""
    return candidates(
        experts,
        Profiles(experts=profiles),
        *predicted(profiles, MATH, NO_SKILLS, 10.0),
        usd_per_token=dict.fromkeys(experts, (1e-6, 2e-6)),
        prompt_tokens=100,
        excluded=excluded,
    )


def test_each_level_leans_on_the_one_above_it() -> None:
    """Without skills the categories decide, weighted by their probabilities; by hand, at strength 10.

    the pool: (8 + 1) / (10 + 2) = 0.75; overall: (8 + 10 · 0.75) / 20 = 0.775; math: (6 + 10 · 0.775) / 16 = 0.859375;
    text: not asked, so 0.775; together 0.8 · 0.859375 + 0.2 · 0.775 = 0.8425.
    """
    p, observations, evidence = predict(profile((8, 10), categories={"math": (6, 6)}), MATH, NO_SKILLS, 10.0)
    assert p == pytest.approx(0.8425)
    assert (observations, evidence) == (6, "category")


def test_known_skills_decide() -> None:
    """With skills, each leans on the category's rate; by hand, at strength 10.

    sums: (3 + 10 · 0.8425) / 14; words: not asked, so 0.8425; the observations are those of the skills.
    """
    known = profile((8, 10), categories={"math": (6, 6)}, skills={"sums": (3, 4)})
    p, observations, evidence = predict(known, MATH, SkillScores({"sums": 0.75, "words": 0.25}), 10.0)
    assert p == pytest.approx(0.75 * 11.425 / 14 + 0.25 * 0.8425)
    assert (observations, evidence) == (4, "skill")


def test_thin_profiles_stay_close_to_what_is_known_one_level_up() -> None:
    """One right answer of one moves less than ninety of a hundred."""
    pool = {"thin": profile((1, 1)), "thick": profile((90, 100)), "other": profile((9, 100))}
    _, found = predicted(pool, MATH, NO_SKILLS, 10.0)
    thin, thick, _ = found.p[0]
    assert 0.5 < thin < thick < 0.9


def test_the_pool_mean_counts_answers_not_experts() -> None:
    """Share of all answers that were right; one half where nothing was measured."""
    assert Rates.of({"a": profile((9, 10)), "b": profile((1, 30))}, 8.0).mean == pytest.approx(10 / 40, abs=0.05)
    assert Rates.of({}, 8.0).mean == 0.5


def test_an_unprofiled_expert_is_visible() -> None:
    """It is scored with the pool's mean, no observations and a stated answer length: never left out, never random."""
    known = {"ada": profile((6, 10)), "bob": profile((4, 10))}
    found = {c.expert: c for c in recruited(known, "ada", "bob", "new")}
    assert (found["new"].observations, found["new"].evidence) == (0, "pool")
    assert found["new"].p_correct == pytest.approx(0.5)
    assert found["new"].usd_per_query == pytest.approx((100 + 2 * UNMEASURED_OUTPUT_TOKENS) / 1e6)


def test_a_stranger_is_as_good_as_the_others_are_on_this_very_question() -> None:
    """What is hard for everybody measured is taken to be hard for it too: its guess follows theirs."""
    known = {name: profile((50, 100), categories={"math": (5, 50), "text": (45, 50)}) for name in ("ada", "bob")}
    found = {c.expert: c for c in recruited(known, "ada", "bob", "new")}
    assert found["new"].p_correct == pytest.approx((found["ada"].p_correct + found["bob"].p_correct) / 2)
    assert found["new"].p_correct < 0.4 < Rates.of(known, 10.0).mean


def test_how_sure_a_probability_is_follows_from_the_answers_behind_it() -> None:
    """A Beta's standard deviation: p (1 - p) over the observations and the prior's, plus one; by hand."""
    pool = {"thin": profile((1, 1)), "thick": profile((90, 100))}
    thin, thick, new = recruited(pool, "thin", "thick", "new")
    assert thick.p_spread == pytest.approx((thick.p_correct * (1 - thick.p_correct) / 111) ** 0.5)
    assert new.p_spread == pytest.approx((new.p_correct * (1 - new.p_correct) / 11) ** 0.5)
    assert thick.p_spread < thin.p_spread < new.p_spread


def test_a_pool_that_was_always_right_makes_no_stranger_certain() -> None:
    """One question answered rightly says little about an expert that was never measured: it is not sure."""
    (stranger,) = (c for c in recruited({"ada": profile((1, 1))}, "ada", "new") if c.expert == "new")
    assert stranger.p_correct < 0.9


def test_an_expert_s_price_is_of_its_own_answers() -> None:
    """Prompt tokens as estimated, output tokens as measured on average."""
    short = profile((5, 10)).model_copy(update={"output_tokens": 10})
    (found,) = recruited({"ada": short}, "ada")
    assert found.usd_per_query == pytest.approx((100 + 2 * 1) / 1e6)


def test_excluded_experts_keep_their_reason() -> None:
    """They are shown with what is known of them, and why they must not be asked."""
    found = recruited({"ada": profile((9, 10)), "bob": profile((1, 10))}, "ada", "bob", ada="down")
    assert [(c.expert, c.excluded) for c in found] == [("ada", "down"), ("bob", None)]


@given(st.dictionaries(st.sampled_from("abc"), PROFILES, max_size=3), SKILLS, st.floats(0.1, 100))
def test_predicted_correctness_is_never_certain(
    profiles: dict[str, Profile], skills: SkillScores, strength: float
) -> None:
    """P(correct) lies strictly between 0 and 1 for every expert, whatever was measured."""
    found = candidates(
        "abc",
        Profiles(experts=profiles),
        *predicted(profiles, MATH, skills, strength),
        usd_per_token=dict.fromkeys("abc", (0.0, 0.0)),
        prompt_tokens=1,
        excluded={},
    )
    assert len(found) == 3
    assert all(0 < c.p_correct < 1 for c in found)


@given(PROFILES, SKILLS, st.floats(0.1, 100), st.sampled_from(["math", "text", "sums", "words"]))
def test_a_further_right_answer_never_lowers_the_prediction(
    before: Profile, skills: SkillScores, strength: float, where: str
) -> None:
    """Monotone in right answers: of an expert overall, in a category, in a skill."""
    after = before.model_copy(
        update={
            "overall": before.overall.plus(True),
            "categories": {n: c.plus(True) if n == where else c for n, c in before.categories.items()},
            "skills": {n: c.plus(True) if n == where else c for n, c in before.skills.items()},
        }
    )
    low, *_ = predict(before, MATH, skills, strength)
    high, *_ = predict(after, MATH, skills, strength)
    assert high >= low - 1e-12
