"""What money has to say: whom a question goes to, and what hearing one more expert must bring."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import Policy
from router.plan import plan
from router.ranking import ranked
from router.rates import Rates
from router.records import Candidate, Plan
from tests.unit.make import candidate, categories, query

NO_RATES = Rates.of({}, 8.0)
DEAR = candidate("dear", 0.7, usd_per_query=0.04)
FAIR = candidate("fair", 0.65, usd_per_query=0.01)
FREE = candidate("free", 0.5)
POOL = (DEAR, FAIR, FREE)
USD = st.floats(0, 1)


def order(*pool: Candidate, usd_per_right: float | None) -> list[str]:
    """Names as they are convened by predicted correctness."""
    return [c.expert for c in ranked(pool, "predicted", NO_RATES, "math", seed="s", usd_per_right=usd_per_right)]


def planned(policy: Policy, *pool: Candidate) -> Plan:
    """The plan, where there is one."""
    found = plan(policy, pool, categories({"math": 0.9}), query(), "fair")
    assert found is not None
    return found


def test_scores_by_hand() -> None:
    """P(right) less the price over what a right answer is worth: 0.7 - 0.04 / 0.5, 0.65 - 0.01 / 0.5 and 0.5."""
    found = ranked(POOL, "predicted", NO_RATES, "math", seed="s", usd_per_right=0.5)
    assert {c.expert: c.score for c in found} == pytest.approx({"fair": 0.63, "dear": 0.62, "free": 0.5})
    assert [c.expert for c in found] == ["fair", "dear", "free"]


@pytest.mark.parametrize(
    ("worth", "wanted"),
    [
        (None, ["dear", "fair", "free"]),
        (100.0, ["dear", "fair", "free"]),
        (0.5, ["fair", "dear", "free"]),
        (0.15, ["fair", "free", "dear"]),
        (0.01, ["free", "fair", "dear"]),
    ],
)
def test_the_less_a_right_answer_is_worth_the_more_prices_count(worth: float | None, wanted: list[str]) -> None:
    """Without a worth they do not count at all."""
    assert order(*POOL, usd_per_right=worth) == wanted


def test_of_equals_the_cheaper_one_comes_first() -> None:
    """Also where prices do not count; then names decide."""
    one, two, three = candidate("c", usd_per_query=0.1), candidate("b", usd_per_query=0.1), candidate("z")
    assert order(one, two, three, usd_per_right=None) == ["z", "b", "c"]


@pytest.mark.parametrize("method", ["category", "overall", "random", "symbolic"])
def test_baselines_know_no_prices(method: str) -> None:
    """What they order by is theirs alone: a worth changes neither order nor scores."""
    policy = Policy.model_validate({"recruit": method})
    without, worth = (ranked(POOL, policy.recruit, NO_RATES, "math", seed="s", usd_per_right=w) for w in (None, 0.01))
    assert without == worth


@given(USD, USD, st.floats(1e-3, 10))
def test_of_two_that_are_equally_good_the_dearer_never_comes_first(one: float, other: float, worth: float) -> None:
    """Whatever a right answer is worth."""
    first, _ = ranked(
        (candidate("a", usd_per_query=one), candidate("b", usd_per_query=other)),
        "predicted",
        NO_RATES,
        "math",
        seed="s",
        usd_per_right=worth,
    )
    assert first.usd_per_query == min(one, other)


def test_prices_by_hand() -> None:
    """What an expert costs over what a right answer is worth, `min_gain` at least; also of those who may step in."""
    found = planned(Policy(max_experts=2, usd_per_right=0.5, min_gain=0.005), *POOL)
    assert found.spares == ("free",)
    assert found.prices == pytest.approx({"dear": 0.08, "fair": 0.02, "free": 0.005})


def test_without_a_worth_each_call_must_bring_the_least_gain() -> None:
    """The same for everybody, however dear."""
    assert planned(Policy(min_gain=0.01), *POOL).prices == dict.fromkeys(("dear", "fair", "free"), 0.01)


def test_who_must_not_be_asked_has_no_price() -> None:
    """Excluded experts are in no part of a plan."""
    assert planned(Policy(), DEAR, FREE, candidate("down", excluded="down")).prices.keys() == {"dear", "free"}


@given(st.lists(USD, min_size=2, max_size=5), st.none() | st.floats(1e-3, 10), st.floats(0, 1))
def test_no_price_is_below_the_least_gain(usd: list[float], worth: float | None, least: float) -> None:
    """And whoever costs more has no lower price."""
    pool = [candidate(f"e{i}", usd_per_query=price) for i, price in enumerate(usd)]
    found = planned(Policy(usd_per_right=worth, min_gain=least), *pool).prices
    in_order = [found[c.expert] for c in sorted(pool, key=lambda c: c.usd_per_query)]
    assert in_order[0] >= least
    assert in_order == sorted(in_order)
