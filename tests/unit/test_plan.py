"""Who is convened: every reason for a plan's size, how answers become one, and what no plan ever holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import Policy, Recruitment
from router.errors import BadRequest
from router.plan import named, plan
from router.records import Aggregate, Candidate, CategoryScores, Needs, Plan, Query
from tests.unit.make import candidate, categories, query

SURE = categories({"math": 0.9})
UNSURE = categories({"math": 0.9}, confident=False)
PANEL = [candidate("ada", 0.6), candidate("bob", 0.5), candidate("cy", 0.4), candidate("dan", 0.1)]
HI = query()
TOOLS, JSON, SAMPLES = (query(needs=needs) for needs in (Needs(tools=True), Needs(json_schema=True), Needs(samples=2)))
COMPLETION = query(kind="completion")
NOBODY: Mapping[str, float | None] = {}


def planned(
    policy: Policy,
    candidates: Sequence[Candidate] = PANEL,
    scores: CategoryScores = SURE,
    asked: Query = HI,
    general: str = "dan",
    writers: Mapping[str, float | None] = NOBODY,
) -> Plan:
    """The plan, where there is one."""
    found = plan(policy, candidates, scores, asked, general, writers)
    assert found is not None
    return found


def test_a_named_expert_is_asked_alone() -> None:
    """The request names its expert: nobody votes with it and nobody steps in for it."""
    found = named(query(model="ada"))
    assert (found.waves, found.aggregator, found.spares, found.reason) == ((("ada",),), "single", (), "named")


@pytest.mark.parametrize("wish", ["vote", "consensus", "synthesize"])
def test_of_a_named_expert_there_is_nothing_to_aggregate(wish: Aggregate) -> None:
    """400 with the field; what one expert can do for itself is fine."""
    with pytest.raises(BadRequest, match="'ada' is one expert") as caught:
        named(query(model="ada", aggregate=wish))
    assert (caught.value.code, caught.value.param) == ("invalid_value", "symposium.aggregate")
    assert named(query(model="ada", aggregate="single")) == named(query(model="ada", aggregate="auto"))


def test_up_to_max_experts_that_are_not_hopeless_vote() -> None:
    """Convened: the best three; the fourth, far below the best, may still step in. All votes have a weight."""
    assert planned(Policy(max_experts=4, min_share=0.3)) == Plan(
        waves=(("ada", "bob", "cy"),),
        aggregator="vote",
        spares=("dan",),
        reason="convened",
        decided_at=0.98,
        p_correct={"ada": 0.6, "bob": 0.5, "cy": 0.4, "dan": 0.1},
        prices=dict.fromkeys(("ada", "bob", "cy", "dan"), 0.002),
    )


@pytest.mark.parametrize(
    ("policy", "candidates", "asked", "reason"),
    [
        (Policy(aggregate="single"), PANEL, HI, "policy_single"),
        (Policy(max_experts=1), PANEL, HI, "policy_single"),
        (Policy(aggregate="vote"), PANEL[:1], HI, "only_one"),
        (Policy(aggregate="vote"), PANEL, SAMPLES, "not_votable"),
        (Policy(aggregate="synthesize"), PANEL, SAMPLES, "not_votable"),
        (Policy(structured="single"), PANEL, TOOLS, "policy_structured"),
        (Policy(structured="single", aggregate="vote"), PANEL, JSON, "policy_structured"),
        (Policy(enough=0.6), PANEL, HI, "sure"),
        (Policy(min_share=0.9), PANEL, HI, "others_too_weak"),
    ],
)
def test_one_expert_is_enough(policy: Policy, candidates: list[Candidate], asked: Query, reason: str) -> None:
    """The best answers alone, with the reason; all others may step in, best first."""
    found = planned(policy, candidates, asked=asked)
    assert (found.waves, found.aggregator, found.reason) == ((("ada",),), "single", reason)
    assert found.spares == tuple(c.expert for c in candidates[1:])


@pytest.mark.parametrize("asked", [TOOLS, JSON])
@pytest.mark.parametrize("wish", ["consensus", "synthesize"])
def test_calls_and_objects_are_voted_on_whatever_was_wished_for(asked: Query, wish: Aggregate) -> None:
    """No text may be written in their place, and they have no meaning to be compared by."""
    found = planned(Policy(aggregate=wish), asked=asked, writers={"eve": 0.9})
    assert (found.aggregator, found.reason, found.synthesizers) == ("vote", "structured", ())


@pytest.mark.parametrize(
    ("wish", "asked", "writers", "aggregator", "reason"),
    [
        ("auto", TOOLS, {}, "vote", "convened"),
        ("vote", JSON, {}, "vote", "convened"),
        ("vote", COMPLETION, {}, "vote", "convened"),
        ("consensus", HI, {}, "consensus", "convened"),
        ("consensus", COMPLETION, {}, "consensus", "convened"),
        ("synthesize", HI, {"eve": 0.9, "ada": 0.8}, "synthesize", "convened"),
        ("synthesize", HI, {}, "vote", "no_aggregator"),
        ("synthesize", COMPLETION, {"eve": None}, "vote", "completion"),
    ],
)
def test_answers_become_one_as_wished_where_that_can_be(
    wish: Aggregate, asked: Query, writers: Mapping[str, float | None], aggregator: str, reason: str
) -> None:
    """Else by a vote, and the reason says so; who may write one answer is named only where one is to be written."""
    found = planned(Policy(aggregate=wish), asked=asked, writers=writers)
    assert (found.aggregator, found.reason) == (aggregator, reason)
    assert found.synthesizers == (tuple(writers) if aggregator == "synthesize" else ())


@pytest.mark.parametrize(
    ("decided_at", "writers", "agreed_at"),
    [
        (0.98, {"eve": 0.9, "ada": 0.95}, 0.9),
        (0.8, {"eve": 0.9}, 0.8),
        (0.98, {"eve": None}, 0.98),
        (None, {"eve": 0.9}, None),
    ],
)
def test_nothing_is_written_where_the_vote_is_surer_than_who_would_write(
    decided_at: float | None, writers: Mapping[str, float | None], agreed_at: float | None
) -> None:
    """Than the first writer was measured to be right, or where it counts as decided; where all are heard, never."""
    found = planned(Policy(aggregate="synthesize", decided_at=decided_at), writers=writers)
    assert (found.agreed_at, found.decided_at) == (agreed_at, decided_at)


def test_a_request_wishes_before_a_category_and_that_before_the_policy() -> None:
    """Who asks knows best what the answers are for; questions of no category are `general`."""
    policy = Policy(aggregate="single", categories={"math": "vote", "general": "consensus"})
    text = categories({"text": 1.0})
    assert planned(policy, scores=text).aggregator == "single"
    assert planned(policy).aggregator == "vote"
    assert planned(policy, scores=UNSURE).aggregator == "consensus"
    assert planned(policy, asked=query(aggregate="single")).aggregator == "single"
    assert planned(policy, scores=text, asked=query(aggregate="consensus")).aggregator == "consensus"


def test_a_request_that_wishes_for_several_gets_them_though_one_is_sure() -> None:
    """`enough` belongs to aggregate: auto, whoever says it."""
    assert planned(Policy(enough=0.1)).reason == "sure"
    assert planned(Policy(enough=0.1, aggregate="vote")).reason == "convened"
    assert planned(Policy(enough=0.1), asked=query(aggregate="vote")).reason == "convened"
    assert planned(Policy(enough=0.1, aggregate="vote"), asked=query(aggregate="auto")).reason == "sure"


@pytest.mark.parametrize(
    ("sizes", "waves"),
    [
        (None, (("ada", "bob", "cy"),)),
        ((9,), (("ada", "bob", "cy"),)),
        ((1, 1), (("ada",), ("bob", "cy"))),
        ((2, 1, 4), (("ada", "bob"), ("cy",))),
        ((3, 2), (("ada", "bob", "cy"),)),
    ],
)
def test_experts_are_asked_in_waves(sizes: tuple[int, ...] | None, waves: tuple[tuple[str, ...], ...]) -> None:
    """Cut in order; the last one takes all that are left, and none is empty."""
    found = planned(Policy(max_experts=3, waves=sizes))
    assert (found.waves, found.experts) == (waves, ("ada", "bob", "cy"))


def test_when_to_stop_is_the_policys_word() -> None:
    """Quorum and the posterior of a decided answer stand in the plan; equal votes still know whom to trust at a tie."""
    found = planned(Policy(quorum=2, decided_at=None, votes="equal"))
    assert (found.quorum, found.decided_at) == (2, None)
    assert found.equal
    assert found.p_correct == {"ada": 0.6, "bob": 0.5, "cy": 0.4, "dan": 0.1}


def test_an_unfamiliar_question_goes_to_the_general_expert() -> None:
    """Profiles say nothing about it, so even the worst-scored general expert comes first, alone under `auto`."""
    found = planned(Policy(), scores=UNSURE)
    assert (found.experts, found.spares, found.reason) == (("dan",), ("ada", "bob", "cy"), "unfamiliar")
    assert planned(Policy(), scores=categories({"math": 0.4}, confident=False, familiar=True)).reason == "unsure"
    assert planned(Policy(aggregate="single"), scores=UNSURE).reason == "unfamiliar"


def test_where_a_vote_is_asked_for_others_join_the_general_expert() -> None:
    """The best of them, even if it is the weakest itself."""
    found = planned(Policy(aggregate="vote", min_share=0), scores=UNSURE)
    assert (found.experts, found.aggregator) == (("dan", "ada", "bob"), "vote")


def test_without_the_general_expert_the_best_one_takes_an_unfamiliar_question() -> None:
    """The general expert is down: the plan says so by its reason."""
    found = planned(Policy(), [*PANEL[:3], candidate("dan", 0.1, excluded="down")], UNSURE)
    assert (found.experts, found.reason) == (("ada",), "general_unavailable")


def test_nobody_to_ask_is_no_plan() -> None:
    """Every expert is excluded: None, also when the question is unfamiliar."""
    out = [candidate("ada", 0.9, excluded="down")]
    assert plan(Policy(), out, SURE, HI, "ada") is None
    assert plan(Policy(), out, UNSURE, HI, "ada") is None


def test_the_hopeless_make_room_before_the_panel_is_cut() -> None:
    """Ranked by chance, the strong one may come late: who is too weak beside it is passed over, not convened for it."""
    ranked = [candidate("w1", 0.1), candidate("strong", 0.8), candidate("w2", 0.1), candidate("good", 0.7)]
    policy = Policy(recruit="random", aggregate="vote", max_experts=2)
    found, alone = planned(policy, ranked, general="w1"), planned(policy, ranked[:3], general="w1")
    assert (found.experts, found.spares) == (("strong", "good"), ("w1", "w2"))
    assert (alone.experts, alone.reason) == (("strong",), "others_too_weak")


def test_the_general_expert_is_never_too_weak_for_the_unfamiliar() -> None:
    """Profiles say nothing about such a question: the general expert joins the vote, and nobody is lost for it."""
    ranked = [candidate("ada", 0.9), candidate("bob", 0.9), candidate("gen", 0.1)]
    assert planned(Policy(aggregate="vote"), ranked, UNSURE, general="gen").experts == ("gen", "ada", "bob")


@pytest.mark.parametrize("method", ["overall", "random"])
def test_baselines_that_do_not_look_at_the_question_take_nobody_s_word_for_it(method: Recruitment) -> None:
    """They keep their own order for an unfamiliar question, too: else they would be measured with our abstention."""
    assert planned(Policy(recruit=method, max_experts=1), scores=UNSURE).experts == ("ada",)


AGGREGATES = st.sampled_from(["auto", "single", "vote", "consensus", "synthesize"])
POLICIES = st.builds(
    Policy,
    max_experts=st.integers(1, 5),
    aggregate=AGGREGATES,
    categories=st.dictionaries(st.sampled_from(["math", "general"]), AGGREGATES),
    structured=st.sampled_from(["vote", "single"]),
    waves=st.none() | st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
    recruit=st.sampled_from(["predicted", "symbolic", "random"]),
    enough=st.floats(0, 1),
    min_share=st.floats(0, 1),
)
QUERIES = st.builds(
    query,
    needs=st.builds(Needs, tools=st.booleans(), json_schema=st.booleans(), samples=st.integers(1, 2)),
    aggregate=st.none() | AGGREGATES,
    kind=st.sampled_from(["chat", "completion"]),
)


@given(
    st.lists(st.tuples(st.floats(0.01, 0.99), st.sampled_from([None, None, "down"])), max_size=8),
    POLICIES,
    st.booleans(),
    QUERIES,
    st.sampled_from([NOBODY, {"e1": None}, {"e1": 0.9}]),
)
def test_no_plan_holds_the_excluded_or_anybody_twice(
    scored: list[tuple[float, str | None]],
    policy: Policy,
    confident: bool,
    asked: Query,
    writers: Mapping[str, float | None],
) -> None:
    """Experts and spares together are the able candidates, each once; several have at least two and at most max.

    In whatever order the candidates are ranked: by P(correct) only one of the ways does.
    """
    found = [candidate(f"e{i}", p, excluded=out) for i, (p, out) in enumerate(scored)]
    found.sort(key=lambda c: c.excluded is not None)
    able = {c.expert for c in found if c.excluded is None}
    made = plan(policy, found, categories({"math": 1.0}, confident=confident), asked, "e0", writers)
    if made is None:
        assert not able
        return
    everyone = [*made.experts, *made.spares]
    assert len(everyone) == len(set(everyone))
    assert set(everyone) == able
    assert all(made.waves)
    if made.aggregator == "single":
        assert len(made.experts) == 1
    else:
        assert 2 <= len(made.experts) <= policy.max_experts
        assert made.p_correct.keys() == able
    assert made.aggregator != "synthesize" or made.synthesizers == tuple(writers) != ()
