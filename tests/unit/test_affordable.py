"""Each step of the ladder by example: what is given up for a budget, how calls are bounded, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.budget import Budget, Fit
from router.money import NANOS
from router.outlook import Pace
from router.records import Needs, Plan
from router.unaffordable import Unaffordable, refusal
from tests.unit.make import query
from tests.unit.make_budgets import World, outlook, wished, world

RATES = {"a": 0.8, "b": 0.7, "c": 0.65, "d": 0.6, "e": 0.5}
VOTE = world(RATES, wished("abc", spares="de"))


def planned(of: World, budget: Budget, elapsed_s: float = 0.0) -> tuple[Plan, Fit]:
    """The plan, where there is one."""
    found = of.plan(budget, elapsed_s)
    assert isinstance(found, Plan), found
    assert found.fit is not None
    return found, found.fit


def refused(of: World, budget: Budget, elapsed_s: float = 0.0) -> Unaffordable:
    found = of.plan(budget, elapsed_s)
    assert isinstance(found, Unaffordable), found
    return found


def test_what_fits_stays_as_it_is() -> None:
    """Three answers of 100 tokens at 10 nanodollars: 3,000 pay for them; the rung says that nothing was given up."""
    plan, fit = planned(VOTE, Budget(nanos=3000, deadline_s=2.0))
    assert replace(plan, fit=None, spares=()) == replace(VOTE.wish, spares=())
    assert plan.spares == ("d", "e")
    assert (fit.rung, fit.usd_nanos) == ("none", 3000)
    assert fit.late_s == pytest.approx(1.0)
    assert fit.max_tokens == {"a": 100, "b": 100, "c": 100}


def test_a_vote_stands_in_for_an_aggregator_that_is_too_dear() -> None:
    """The same experts, as good as far as is known; who could have written is asked no more."""
    synthesis = wished("abc", "synthesize", "de", synthesizers=("w",), agreed_at=0.9)
    of = world(RATES, synthesis, w=outlook("w", nanos=5))
    whole, fit = planned(of, Budget(nanos=3500))
    assert (whole.aggregator, whole.synthesizers, fit.rung) == ("synthesize", ("w",), "none")
    plan, fit = planned(of, Budget(nanos=3499))
    assert (plan.aggregator, plan.synthesizers, plan.agreed_at, fit.rung) == ("vote", (), None, "vote")
    assert plan.experts == ("a", "b", "c")


def test_an_aggregator_gets_its_time() -> None:
    """Replies are waited for until it must begin; where that leaves too little for the experts, they vote."""
    synthesis = wished("ab", "synthesize", synthesizers=("w",))
    of = world(RATES, synthesis, w=outlook("w", seconds=2))
    _, fit = planned(of, Budget(deadline_s=4.02))
    assert fit.rung == "none"
    assert fit.late_s == pytest.approx(3.0)
    assert fit.answers_within_s == pytest.approx(2.0)
    plan, fit = planned(of, Budget(deadline_s=2.52))
    assert (plan.aggregator, fit.rung, fit.answers_within_s) == ("vote", "vote", None)


def test_a_streamed_synthesis_has_to_begin_in_time() -> None:
    """Its first token is the aggregator's."""
    of = world(RATES, wished("ab", "synthesize", synthesizers=("w",)), asked=query(stream=True), w=outlook("w"))
    _, fit = planned(of, Budget(ttft_s=2.0))
    assert fit.answers_within_s == pytest.approx(1.5)


def test_the_second_best_writes_where_the_best_is_too_dear() -> None:
    """Only those who fit may write, who is sure to be in time first."""
    synthesis = wished("ab", "synthesize", synthesizers=("w", "v", "u"))
    of = world(RATES, synthesis, w=outlook("w", nanos=90), v=outlook("v", seconds=1.8), u=outlook("u"))
    plan, _ = planned(of, Budget(nanos=3000, deadline_s=2.6))
    assert plan.synthesizers == ("u", "v")


def test_fewer_experts_then_one_then_a_cheaper_one() -> None:
    """As money shrinks; of equally good plans the earlier rung, so two stay two although the better decides alone."""
    dear = [outlook(name, nanos=price) for name, price in (("a", 30), ("b", 20), ("c", 20), ("d", 10), ("e", 1))]
    of = world(RATES, wished("abc", spares="de"), *dear)
    seen = [planned(of, Budget(nanos=nanos)) for nanos in (7000, 6999, 5000, 3100, 3000, 2999, 2100, 100)]
    assert [(fit.rung, "".join(plan.experts)) for plan, fit in seen] == [
        ("none", "abc"),
        ("cheaper_expert", "abd"),
        ("fewer_experts", "ab"),
        ("one_expert", "a"),
        ("one_expert", "a"),
        ("one_expert", "b"),
        ("one_expert", "b"),
        ("cheaper_expert", "e"),
    ]


def test_a_better_panel_has_others_in_it() -> None:
    """Three of whom one was not wished for are surer than two: quality comes before the rung."""
    of = world(RATES, wished("abc", spares="de"), outlook("c", nanos=100))
    plan, fit = planned(of, Budget(nanos=3000))
    assert (plan.experts, fit.rung) == (("a", "b", "d"), "cheaper_expert")


def test_no_more_experts_than_may_be_convened() -> None:
    """`max_experts` of the query, below the policy's."""
    plan, fit = planned(VOTE, Budget(experts=2))
    assert (plan.experts, fit.rung) == (("a", "b"), "fewer_experts")
    plan, fit = planned(VOTE, Budget(experts=1))
    assert (plan.experts, plan.aggregator, fit.rung) == (("a",), "single", "one_expert")


def test_an_answer_is_cut_only_where_no_whole_one_fits() -> None:
    """The last rung before refusal: the expert whose answer suffers least, with all the tokens that there are."""
    of = world(RATES, wished("abc"), outlook("e", nanos=5))
    plan, fit = planned(of, Budget(nanos=300))
    assert (plan.experts, plan.spares, fit.rung, fit.quality) == (("e",), (), "shorter_answer", 0.0)
    assert fit.max_tokens == {"e": 60}
    plan, fit = planned(VOTE, Budget(tokens=40))
    assert (plan.experts, fit.max_tokens) == (("a",), {"a": 40})


@pytest.mark.parametrize("needs", [Needs(json_schema=True), Needs(tools=True)])
def test_half_a_json_object_is_none(needs: Needs) -> None:
    """It is refused, with what a whole one takes."""
    of = replace(VOTE, query=query(needs=needs))
    found = refused(of, Budget(nanos=999))
    assert (found.why, found.cheapest["max_tokens"], found.cheapest["cost_usd"]) == ("cost", 100, 1e-6)


def test_a_deadline_shortens_the_last_answer_too() -> None:
    """By the pace that it keeps to in 95 of 100 cases, if that leaves an answer at all."""
    slow = outlook("a", tokens=1000, early=Pace(0.5, 0.04), usual=Pace(0.7, 0.05), late=Pace(1.0, 0.1))
    of = world({"a": 0.8}, wished("a", "single"), slow)
    _, fit = planned(of, Budget(deadline_s=11.06))
    assert (fit.rung, fit.max_tokens) == ("shorter_answer", {"a": 101})
    assert refused(of, Budget(deadline_s=0.9)).why == "deadline"


def test_several_samples_take_several_times_the_tokens() -> None:
    """`n` answers: `max_tokens` is of each, the budget's of all."""
    of = replace(world({"a": 0.8}, wished("a", "single")), query=query(needs=Needs(samples=4)))
    _, fit = planned(of, Budget(tokens=402))
    assert fit.max_tokens == {"a": 100}
    _, fit = planned(of, Budget(tokens=399))
    assert (fit.rung, fit.max_tokens) == ("shorter_answer", {"a": 99})


def test_what_is_left_is_shared_evenly() -> None:
    """Each has what its answer needs; then the lowest bounds rise, up to the client's own and to what contexts hold."""
    of = world(RATES, wished("abc"), outlook("a", tokens=300), outlook("b", room=120))
    _, fit = planned(of, Budget(tokens=800))
    assert fit.max_tokens == {"a": 340, "b": 120, "c": 340}
    short = replace(of, query=query(max_tokens=110))
    _, fit = planned(short, Budget(tokens=800))
    assert fit.max_tokens == {"a": 110, "b": 110, "c": 110}


def test_who_may_step_in_fits_too() -> None:
    """In the place of anybody; where only time is bounded, by time alone."""
    of = world(RATES, wished("ab", spares="cde"), outlook("c", nanos=20), outlook("d", seconds=9))
    assert planned(of, Budget(nanos=2999, deadline_s=3.0))[0].spares == ("e",)
    assert planned(of, Budget(deadline_s=3.0))[0].spares == ("c", "e")
    assert planned(of, Budget(nanos=3000))[0].spares == ("c", "d", "e")


def test_waves_join_where_there_is_no_time_for_one_after_the_other() -> None:
    """The first ones stay first as long as that goes."""
    of = world(RATES, wished("abcd", waves=(("a",), ("b",), ("c", "d"))))
    waves = [planned(of, Budget(deadline_s=seconds))[0].waves for seconds in (3.1, 2.9, 1.9)]
    assert waves == [(("a",), ("b",), ("c", "d")), (("a",), ("b", "c", "d")), (("a", "b", "c", "d"),)]
    assert [planned(of, Budget(deadline_s=s))[1].rung for s in (3.1, 1.9)] == ["none", "none"]


def test_a_plan_that_may_be_late_is_worth_less() -> None:
    """A slow expert that is twice as good is taken before a quick one; not one that will hardly be there."""
    of = world({"a": 0.9, "b": 0.4}, wished("a", "single", "b"), outlook("a", seconds=10), outlook("b", seconds=0.1))
    plan, fit = planned(of, Budget(deadline_s=9.02))
    assert plan.experts == ("a",)
    assert 0.9 * 0.5 < fit.quality < 0.9 * 0.95
    plan, fit = planned(of, Budget(deadline_s=4.5))
    assert (plan.experts, fit.rung, fit.quality) == (("b",), "cheaper_expert", 0.4)


def test_time_that_has_passed_is_gone() -> None:
    """The deadline counts from the query's arrival."""
    assert planned(VOTE, Budget(deadline_s=2.0), elapsed_s=0.9)[1].rung == "none"
    assert refused(VOTE, Budget(deadline_s=2.0), elapsed_s=1.95).why == "deadline"


def test_of_whom_nothing_is_known_is_in_time() -> None:
    """Nothing is refused for missing knowledge, until the deadline has passed."""
    unknown = [replace(outlook(name, seconds=9), known=False) for name in RATES]
    of = world(RATES, wished("abc"), *unknown)
    plan, fit = planned(of, Budget(deadline_s=0.1))
    assert (plan.experts, fit.late_s) == (("a", "b", "c"), None)
    assert refused(of, Budget(deadline_s=0.1), elapsed_s=0.2).why == "deadline"


def test_a_stream_keeps_to_its_pace() -> None:
    """TTFT and TPOT of a single expert that is streamed; nobody streams faster than it writes."""
    slow = replace(outlook("a"), late=Pace(0.5, 0.05), usual=Pace(0.4, 0.05), early=Pace(0.3, 0.04))
    of = world({"a": 0.8, "b": 0.5}, wished("a", "single", "b"), slow)
    streamed = replace(of, query=query(stream=True))
    assert planned(streamed, Budget(tpot_s=0.03))[0].experts == ("b",)
    assert planned(of, Budget(tpot_s=0.03))[0].experts == ("a",)
    assert planned(streamed, Budget(ttft_s=0.2))[0].experts == ("b",)


def test_sure_enough_is_not_paid_for_twice() -> None:
    """`min_confidence`: the cheapest plan that is worth as much; a vote ends there; where none is, the best."""
    of = world(RATES, wished("abc", spares="de"), outlook("d", nanos=1))
    plan, fit = planned(of, Budget(min_confidence=0.6))
    assert (plan.experts, fit.rung) == (("d",), "cheaper_expert")
    plan, fit = planned(of, Budget(min_confidence=0.81))
    assert (fit.rung, plan.decided_at) == ("cheaper_expert", 0.81)
    assert len(plan.experts) == 3
    plan, fit = planned(of, Budget(min_confidence=0.99))
    assert (plan.experts, plan.decided_at, fit.rung) == (("a", "b", "c"), 0.98, "none")


def test_a_named_expert_has_nobody_beside_it() -> None:
    """It answers, shorter if it must, or it is refused."""
    of = replace(world({"a": 0.8}, wished("a", "single", reason="named")), candidates=())
    assert planned(of, Budget(nanos=1000))[1] == Fit(usd_nanos=1000, late_s=1.0, max_tokens={"a": 100})
    plan, fit = planned(of, Budget(nanos=999))
    assert (plan.experts, fit.rung, fit.max_tokens) == (("a",), "shorter_answer", {"a": 99})
    assert refused(of, Budget(nanos=150)).why == "cost"


def test_who_is_excluded_or_not_foreseen_is_not_asked() -> None:
    """An excluded candidate fits no budget; nor does one of whom no cost is known."""
    able = tuple(replace(c, excluded="down") if c.expert == "e" else c for c in VOTE.candidates)
    of = replace(VOTE, candidates=able, wish=replace(VOTE.wish, spares=("d",)), outlooks={"d": outlook("d")})
    plan, fit = planned(of, Budget(nanos=1000))
    assert (plan.experts, plan.spares, fit.rung) == (("d",), (), "cheaper_expert")


def test_what_was_given_up_before_stays_told() -> None:
    """A plan that was made for one budget and fits into another one is still not what the policy wanted."""
    plan, _ = planned(VOTE, Budget(nanos=2000))
    again, fit = planned(replace(VOTE, wish=plan), Budget(nanos=1999))
    assert (again.experts, fit.rung) == (("a",), "one_expert")
    again, fit = planned(replace(VOTE, wish=plan), Budget(nanos=2000))
    assert (again.experts, fit.rung) == (("a", "b"), "fewer_experts")


def test_without_a_budget_nobody_has_to_be_known() -> None:
    """Nothing is bounded, so no outlook is needed, not even an aggregator's; with a budget it would be."""
    of = replace(world(RATES, wished("ab", "synthesize", "c", synthesizers=("w",))), outlooks={})
    plan, fit = planned(of, Budget())
    assert replace(plan, fit=None) == of.wish
    assert (fit.rung, fit.late_s) == ("none", None)


def test_large_panels_stay_large() -> None:
    """Judged by their weightiest five, but others of the wish that fit are kept: they do no harm."""
    rates = {name: 0.6 - place / 100 for place, name in enumerate("abcdefghij")}
    of = world(rates, wished("abcdefgh", spares="ij"))
    plan, fit = planned(of, Budget(nanos=7000))
    assert (plan.experts, fit.rung) == (("a", "b", "c", "d", "e", "f", "g"), "fewer_experts")


def test_money_is_refused_with_what_would_do() -> None:
    """429, not to be sent again; whose limit it is, the cheapest and the fastest whole answer."""
    of = world(RATES, wished("abc"), outlook("e", nanos=5), outlook("a", nanos=50, seconds=0.5))
    budget = Budget(nanos=70, source={"nanos": "key"})
    found = refused(of, budget)
    assert found.cheapest == {"experts": ["e"], "cost_usd": 500 / NANOS, "seconds": 1.0, "max_tokens": 100}
    assert found.fastest["experts"] == ["a"]
    error = refusal(found, budget)
    assert (error.status, error.code, error.param) == (429, "insufficient_quota", "symposium.budget.max_cost_usd")
    assert error.headers()["x-should-retry"] == "false"
    assert error.details == {"cheapest": found.cheapest, "fastest": found.fastest}
    assert "which your key sets" in error.message
    assert planned(of, Budget(nanos=500))[0].experts == ("e",)


def test_tokens_are_refused_like_money() -> None:
    """Fewer than an answer has."""
    error = refusal(refused(VOTE, Budget(tokens=9)), Budget(tokens=9))
    assert (error.status, error.code, error.param) == (429, "insufficient_quota", "symposium.budget.max_tokens")


def test_a_deadline_is_refused_and_repeated_only_where_the_queue_is_to_blame() -> None:
    """504; the queue's wait is what to wait for."""
    found = refused(VOTE, Budget(deadline_s=0.05))
    error = refusal(found, Budget(deadline_s=0.05))
    assert (error.status, error.code, error.param) == (504, "deadline_unreachable", "symposium.budget.deadline_ms")
    assert (found.hopeless, error.headers()["x-should-retry"]) == (True, "false")
    queued = world({"a": 0.8}, wished("a", "single"), outlook("a", wait_s=7))
    busy = refusal(refused(queued, Budget(deadline_s=2)), Budget(deadline_s=2))
    assert (busy.headers()["x-should-retry"], busy.headers()["retry-after"]) == ("true", "7")


def test_why_names_the_limit_that_alone_stands_in_the_way() -> None:
    """Money and time together: the one without which an answer would fit; else the first that allows none."""
    slow = world({"a": 0.8, "b": 0.5}, wished("a", "single", "b"), outlook("a", seconds=100), outlook("b", nanos=90))
    assert refused(slow, Budget(deadline_s=1.1, nanos=100)).why == "cost"
    assert refused(VOTE, Budget(deadline_s=0.05, nanos=3000)).why == "deadline"
    assert refused(VOTE, Budget(deadline_s=0.05, nanos=1)).why == "cost"
