"""In which order experts are convened: the formulas by hand, sampling, the baselines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import Recruitment
from router.profiles import Count, Profile, Profiles
from router.ranking import ranked, symbolic_weights
from router.rates import Rates
from router.records import Candidate, CategoryScores, SkillScores
from router.recruit import candidates
from tests.unit.make import candidate, categories, predicted

MATH = categories({"math": 0.9, "text": 0.1})
SUMS = SkillScores({"sums": 1.0})


def counts(right: int, asked: int) -> Count:
    """`right` of `asked`."""
    return Count(right=right, asked=asked)


def profile(sums: int, math: int, overall: int) -> Profile:
    """Right answers of 10 sums, 20 in maths and 40 overall."""
    return Profile(
        expert_version="1",
        engine_version="1",
        questions="q",
        overall=counts(overall, 40),
        categories={"math": counts(math, 20)},
        skills={"sums": counts(sums, 10)},
    )


POOL = Profiles(experts={"ada": profile(9, 12, 20), "bob": profile(5, 16, 24), "cy": profile(6, 10, 30)})
RATES = Rates.of(POOL.experts, 1e-9)
EXPERTS = [candidate("ada", 0.8), candidate("bob", 0.6), candidate("cy", 0.7)]


def order(
    method: Recruitment, experts: Sequence[Candidate] = EXPERTS, seed: str = "req", category: str = "math"
) -> list[str]:
    """The experts' names as ranked."""
    found = ranked(experts, method, RATES, category, seed=seed)
    return [c.expert for c in found]


def weights(
    pool: Profiles = POOL, *more: str, skills: SkillScores = SUMS, scores: CategoryScores = MATH, strength: float = 1e-9
) -> dict[str, float]:
    """Symbolic-MoE's weights of the pool's experts (and of `more`), from what stage 2b says of them."""
    names = (*pool.experts, *more)
    rates, known = predicted(pool.experts, scores, skills, strength)
    found = candidates(
        names,
        pool,
        rates,
        known,
        usd_per_token=dict.fromkeys(names, (0.0, 0.0)),
        prompt_tokens=1,
        excluded={},
    )
    return symbolic_weights(found, rates)


@pytest.mark.parametrize(
    ("method", "best_first"),
    [("predicted", ["ada", "cy", "bob"]), ("category", ["bob", "ada", "cy"]), ("overall", ["cy", "bob", "ada"])],
)
def test_each_method_orders_by_its_own_measure(method: Recruitment, best_first: list[str]) -> None:
    """By P(correct); by the rate in the question's category; by the rate on everything."""
    assert order(method) == best_first


def test_whom_a_category_is_assigned_to_comes_first() -> None:
    """Whatever others were measured to be; then they come as by category, and where nobody is assigned, all of them."""
    assert [c.expert for c in ranked(EXPERTS, "assigned", RATES, "math", seed="r", assigned="cy")] == [
        "cy", "bob", "ada",
    ]  # fmt: skip
    assert order("assigned") == order("category")
    assert [c.expert for c in ranked(EXPERTS, "category", RATES, "math", seed="r", assigned="cy")] == order("category")


def test_the_category_map_of_an_unknown_category_is_the_best_overall() -> None:
    """`general` was never counted: what is left is how good an expert is at everything."""
    assert order("category", category="general") == order("overall")


def test_symbolic_weights_by_hand() -> None:
    """w = share of the pool's right answers x net score of the skill; ada: 20/74 x (9 - 1), without shrinkage."""
    assert weights() == pytest.approx({"ada": 20 / 74 * 8, "bob": 0.0, "cy": 30 / 74 * 2}, abs=1e-6)


def test_where_nobody_was_measured_on_the_skill_the_categories_speak() -> None:
    """No skill known, or one that no calibration question has: never chance in silence."""
    for skills in (SkillScores({}), SkillScores({"never asked": 1.0})):
        found = weights(skills=skills, scores=categories({"math": 1.0}))
        assert found == pytest.approx({"ada": 20 / 74 * 4, "bob": 24 / 74 * 12, "cy": 0.0}, abs=1e-6)


def test_who_was_never_asked_about_the_skill_has_no_score_in_it() -> None:
    """While others were: an expert without such questions weighs nothing, whatever its category says."""
    pool = Profiles(experts={**POOL.experts, "dan": profile(9, 19, 30).model_copy(update={"skills": {}})})
    found = weights(pool)
    assert found["dan"] == 0.0
    assert found["ada"] > 0


def test_shrinkage_pulls_a_skill_s_score_towards_the_category() -> None:
    """ada's 9 of 10 sums lean on her 12 of 20 in maths: the score falls, its sign stays."""
    bare = weights()["ada"]
    shrunk = weights(strength=10)["ada"]
    assert 0 < shrunk < bare


def test_an_expert_that_is_mostly_wrong_is_not_rewarded_for_it() -> None:
    """Wrong overall and wrong at the skill weighs less than nothing, never more."""
    pool = Profiles(experts={"good": profile(5, 10, 30), "bad": profile(1, 2, 4)})
    found = weights(pool)
    assert found["bad"] < 0 <= found["good"] + 1e-6


def test_an_unmeasured_expert_weighs_nothing() -> None:
    """No profile speaks for it or against it."""
    assert weights(POOL, "new", strength=8)["new"] == 0.0


def test_sampling_follows_the_scores() -> None:
    """Over many requests an expert comes first as often as its softmax score says (within 3 standard errors)."""
    firsts = Counter(order("symbolic", seed=str(i))[0] for i in range(4000))
    found = ranked(EXPERTS, "symbolic", RATES, "math", seed="0")
    assert sum(c.score for c in found) == pytest.approx(1.0)
    for c in found:
        error = 3 * (c.score * (1 - c.score) / 4000) ** 0.5 + 1e-3
        assert firsts[c.expert] / 4000 == pytest.approx(c.score, abs=error)


def test_chance_is_the_request_s_own() -> None:
    """The same id gives the same order, on every replica; ids together give every order."""
    assert order("random", seed="a") == order("random", seed="a")
    assert {tuple(order("random", seed=str(i))) for i in range(100)} == {
        tuple(p) for p in (("ada", "bob", "cy"), ("ada", "cy", "bob"), ("bob", "ada", "cy"), ("bob", "cy", "ada"),
                           ("cy", "ada", "bob"), ("cy", "bob", "ada"))
    }  # fmt: skip


@given(
    st.sampled_from(["predicted", "symbolic", "category", "assigned", "overall", "random"]),
    st.text(),
    st.sets(st.sampled_from("abc")),
)
def test_everybody_is_ranked_once_and_the_excluded_come_last(method: Recruitment, seed: str, out: set[str]) -> None:
    """No method samples with replacement, loses an expert, or prefers one that must not be asked."""
    experts = [candidate(name, excluded="down" if name in out else None) for name in "abc"]
    found = ranked(experts, method, Rates.of({}, 8.0), "math", seed=seed)
    assert sorted(c.expert for c in found) == ["a", "b", "c"]
    assert [c.excluded is not None for c in found] == sorted(c.excluded is not None for c in found)


def test_equal_scores_go_to_the_cheaper_one_then_by_name() -> None:
    """So that a tie is broken the same way everywhere."""
    prices = {"c": 1.0, "a": 2.0, "b": 1.0}
    assert order("predicted", [candidate(n, 0.5, usd_per_query=p) for n, p in prices.items()]) == ["b", "c", "a"]
