"""Who is convened: every reason for a plan's size, and what no plan ever holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import Policy, Recruitment
from router.plan import named, plan
from router.records import Candidate, Needs
from tests.unit.make import candidate, categories

SURE = categories({"math": 0.9})
UNSURE = categories({"math": 0.9}, confident=False)
PANEL = [candidate("ada", 0.6), candidate("bob", 0.5), candidate("cy", 0.4), candidate("dan", 0.1)]


def test_a_named_expert_is_asked_alone() -> None:
    """The request names its expert: nobody votes with it and nobody steps in for it."""
    found = named("ada")
    assert (found.experts, found.aggregator, found.spares, found.reason) == (("ada",), "single", (), "named")


def test_up_to_max_experts_that_are_not_hopeless_vote() -> None:
    """Convened: the best three; the fourth, far below the best, may still step in."""
    found = plan(Policy(max_experts=4, min_share=0.3), PANEL, SURE, Needs(), "ada")
    assert found is not None
    assert (found.experts, found.aggregator, found.reason) == (("ada", "bob", "cy"), "vote", "convened")
    assert found.spares == ("dan",)


@pytest.mark.parametrize(
    ("policy", "candidates", "needs", "reason"),
    [
        (Policy(aggregate="single"), PANEL, Needs(), "policy_single"),
        (Policy(max_experts=1), PANEL, Needs(), "policy_single"),
        (Policy(aggregate="vote"), PANEL[:1], Needs(), "only_one"),
        (Policy(aggregate="vote"), PANEL, Needs(tools=True), "not_votable"),
        (Policy(aggregate="vote"), PANEL, Needs(json_schema=True), "not_votable"),
        (Policy(aggregate="vote"), PANEL, Needs(samples=2), "not_votable"),
        (Policy(enough=0.6), PANEL, Needs(), "sure"),
        (Policy(min_share=0.9), PANEL, Needs(), "others_too_weak"),
    ],
)
def test_one_expert_is_enough(policy: Policy, candidates: list[Candidate], needs: Needs, reason: str) -> None:
    """The best answers alone, with the reason; all others may step in, best first."""
    found = plan(policy, candidates, SURE, needs, "dan")
    assert found is not None
    assert (found.experts, found.aggregator, found.reason) == (("ada",), "single", reason)
    assert found.spares == tuple(c.expert for c in candidates[1:])


def test_an_unfamiliar_question_goes_to_the_general_expert_unless_the_policy_votes() -> None:
    """Alone under `auto`; with the best of the others where voting is asked for, even if it is the weakest."""
    alone = plan(Policy(), PANEL, UNSURE, Needs(), "dan")
    unsure = plan(Policy(), PANEL, categories({"math": 0.4}, confident=False, familiar=True), Needs(), "dan")
    assert unsure is not None
    assert unsure.reason == "unsure"
    panel = plan(Policy(aggregate="vote", min_share=0), PANEL, UNSURE, Needs(), "dan")
    assert alone is not None
    assert panel is not None
    assert (alone.experts, alone.reason) == (("dan",), "unfamiliar")
    assert (panel.experts, panel.aggregator) == (("dan", "ada", "bob"), "vote")


def test_a_policy_that_votes_is_never_satisfied_with_one_sure_expert() -> None:
    """`enough` belongs to aggregate: auto."""
    found = plan(Policy(aggregate="vote", enough=0.1), PANEL, SURE, Needs(), "ada")
    assert found is not None
    assert found.reason == "convened"


def test_an_unfamiliar_question_goes_to_the_general_expert() -> None:
    """Profiles say nothing about it, so even the worst-scored general expert comes first."""
    found = plan(Policy(), PANEL, UNSURE, Needs(), "dan")
    assert found is not None
    assert (found.experts, found.spares, found.reason) == (("dan",), ("ada", "bob", "cy"), "unfamiliar")


def test_without_the_general_expert_the_best_one_takes_an_unfamiliar_question() -> None:
    """The general expert is down: the plan says so by its reason."""
    found = plan(Policy(), [*PANEL[:3], candidate("dan", 0.1, excluded="down")], UNSURE, Needs(), "dan")
    assert found is not None
    assert (found.experts, found.reason) == (("ada",), "general_unavailable")


def test_nobody_to_ask_is_no_plan() -> None:
    """Every expert is excluded: None, also when the question is unfamiliar."""
    out = [candidate("ada", 0.9, excluded="down")]
    assert plan(Policy(), out, SURE, Needs(), "ada") is None
    assert plan(Policy(), out, UNSURE, Needs(), "ada") is None


def test_the_hopeless_make_room_before_the_panel_is_cut() -> None:
    """Ranked by chance, the strong one may come late: who is too weak beside it is passed over, not convened for it."""
    ranked = [candidate("w1", 0.1), candidate("strong", 0.8), candidate("w2", 0.1), candidate("good", 0.7)]
    found = plan(Policy(recruit="random", aggregate="vote", max_experts=2), ranked, SURE, Needs(), "w1")
    assert found is not None
    assert (found.experts, found.spares) == (("strong", "good"), ("w1", "w2"))
    alone = plan(Policy(recruit="random", aggregate="vote", max_experts=2), ranked[:3], SURE, Needs(), "w1")
    assert alone is not None
    assert (alone.experts, alone.reason) == (("strong",), "others_too_weak")


def test_the_general_expert_is_never_too_weak_for_the_unfamiliar() -> None:
    """Profiles say nothing about such a question: the general expert joins the vote, and nobody is lost for it."""
    ranked = [candidate("ada", 0.9), candidate("bob", 0.9), candidate("gen", 0.1)]
    found = plan(Policy(aggregate="vote"), ranked, UNSURE, Needs(), "gen")
    assert found is not None
    assert found.experts == ("gen", "ada", "bob")


@given(
    st.lists(st.tuples(st.floats(0.01, 0.99), st.sampled_from([None, None, "down"])), max_size=8),
    st.builds(
        Policy,
        max_experts=st.integers(1, 5),
        aggregate=st.sampled_from(["auto", "single", "vote"]),
        recruit=st.sampled_from(["predicted", "symbolic", "random"]),
        enough=st.floats(0, 1),
        min_share=st.floats(0, 1),
    ),
    st.booleans(),
    st.builds(Needs, tools=st.booleans(), samples=st.integers(1, 2)),
)
def test_no_plan_holds_the_excluded_or_anybody_twice(
    scored: list[tuple[float, str | None]], policy: Policy, confident: bool, needs: Needs
) -> None:
    """Experts and spares together are the able candidates, each once; a vote has at least two and at most max.

    In whatever order the candidates are ranked: by P(correct) only one of the ways does.
    """
    found = [candidate(f"e{i}", p, excluded=out) for i, (p, out) in enumerate(scored)]
    found.sort(key=lambda c: c.excluded is not None)
    able = {c.expert for c in found if c.excluded is None}
    made = plan(policy, found, categories({"math": 1.0}, confident=confident), needs, "e0")
    if made is None:
        assert not able
        return
    everyone = [*made.experts, *made.spares]
    assert len(everyone) == len(set(everyone))
    assert set(everyone) == able
    assert len(made.experts) == 1 if made.aggregator == "single" else 2 <= len(made.experts) <= policy.max_experts


@pytest.mark.parametrize("method", ["overall", "random"])
def test_baselines_that_do_not_look_at_the_question_take_nobody_s_word_for_it(method: Recruitment) -> None:
    """They keep their own order for an unfamiliar question, too: else they would be measured with our abstention."""
    found = plan(Policy(recruit=method, max_experts=1), PANEL, UNSURE, Needs(), "dan")
    assert found is not None
    assert found.experts == ("ada",)
