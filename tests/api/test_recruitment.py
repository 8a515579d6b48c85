"""Stage 2 through the running router: skills by asking, recruitment by formula and by chance, all of it visible."""

from __future__ import annotations

from tests.api.world import FRUGAL_USD, NAMER, ODD, SUM, WHO, World, ask
from tests.support import sse_events


def test_the_keyword_expert_names_the_skills(world: World) -> None:
    """Asked once beside the embedding; a keyword near a known skill counts as it; the explanation shows its words."""
    before = world.legs("started", NAMER)
    found = world.explained("named")
    assert (found["skills"], found["skills_from"], found["unknown_skills"]) == ({"addition": 1.0}, "keywords", [])
    assert [(leg["expert"], leg["said"]) for leg in found["asides"]] == [(NAMER, ["Keywords: addition, 1 + 1"])]
    assert world.legs("started", NAMER) == before + 1
    assert NAMER not in {c["expert"] for c in found["candidates"]}


def test_a_skill_like_no_known_one_is_visible(world: World) -> None:
    """Named in the explanation and counted; the embedding decides instead."""
    before = world.metric("symposium_unknown_skill_total"), world.metric("symposium_keywords_total", outcome="unnamed")
    found = world.explained("named", WHO)
    assert (found["unknown_skills"], found["skills_from"]) == (["old books"], "embedding")
    assert found["skills"] == {"authors": 1.0}
    after = world.metric("symposium_unknown_skill_total"), world.metric("symposium_keywords_total", outcome="unnamed")
    assert after == (before[0] + 1, before[1] + 1)


def test_a_keyword_expert_that_fails_costs_no_answer(world: World) -> None:
    """The failure is shown and counted, the embedding decides, the client gets its answer."""
    before = world.metric("symposium_keywords_total", outcome="failed")
    found = world.explained("named", ODD)
    assert [(leg["expert"], leg["failed"]) for leg in found["asides"]] == [(NAMER, "refused")]
    assert (found["skills_from"], found["answered_by"]) == ("embedding", "cat")
    assert world.metric("symposium_keywords_total", outcome="failed") == before + 1


def test_policies_that_embed_ask_no_keyword_expert(world: World) -> None:
    """It costs what it costs only where a policy wants it."""
    before = world.legs("started", NAMER)
    assert world.explained("auto")["asides"] == []
    assert world.legs("started", NAMER) == before


def test_chance_recruits_by_chance(world: World) -> None:
    """The random baseline asks different experts for different questions, and the same for the same."""

    def drawn(question: str) -> str:
        stream = world.post(ask("drawn", question, stream=True, symposium={"progress": True}))
        (expert,) = sse_events(stream)[0]["symposium"]["plan"]["experts"]
        return str(expert)

    asked = [drawn(f"What is {n} + {n}?") for n in range(40)]
    assert len(set(asked)) > 1
    assert [drawn(f"What is {n} + {n}?") for n in range(3)] == asked[:3]


def test_symbolic_recruitment_is_shown(world: World) -> None:
    """Three experts, none twice; scores that sum to one over all that could be asked."""
    found = world.explained("sampled", SUM)
    assert len(set(found["plan"]["experts"])) == 3
    assert abs(sum(c["score"] for c in found["candidates"]) - 1) < 1e-4
    assert {c["evidence"] for c in found["candidates"]} == {"skill"}


def test_a_category_goes_to_whom_it_is_assigned_to(world: World) -> None:
    """Sums to whom the configuration forces them to, although others are better; people to the best measured."""
    assert world.explained("mapped")["answered_by"] == "cat"
    assert world.explained("mapped", WHO)["answered_by"] == "ant"


def test_a_mean_cost_is_held(world: World) -> None:
    """The better expert is dear: it is asked at first, then as often as the target allows; a gauge shows why."""
    asked = [world.explained("frugal") for _ in range(150)]
    experts = [found["answered_by"] for found in asked]
    settled = [found["cost_usd"] for found in asked[50:]]
    assert experts[:5] == ["elk"] * 5
    assert set(experts[-30:]) == {"ant", "elk"}
    assert 0.7 < sum(settled) / len(settled) / FRUGAL_USD < 1.3
    assert world.metric("symposium_usd_per_right", policy="frugal") < 0.1
