"""What a client is shown of a decision and of its outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from experts.errors import ExpertTimeout
from router.dispatch import LiveReply
from router.explain import decision_json, outcome_json, spent_json
from router.plan import named
from router.records import (
    Answer,
    Ballot,
    CategoryScores,
    Cut,
    EndedLeg,
    Failure,
    JsonObject,
    Plan,
    Role,
    SkillScores,
    Usage,
)  # fmt: skip
from router.response import Response, unheard
from tests.unit.make import categories, choice, decision, query, reply

FAILED = Failure("ada", "leg", ExpertTimeout("ada", "answer", 5), seconds=5.0)


def test_a_decision_shows_scores_candidates_and_plan() -> None:
    """Category and skill scores rounded and best first, every candidate with why, the plan, the overhead."""
    shown = decision_json(decision(categories=categories({"text": 0.123456, "math": 0.876544})))
    assert list(shown["categories"].items()) == [("math", 0.8765), ("text", 0.1235)]
    assert {key: shown[key] for key in shown if key not in ("categories", "candidates")} == {
        "decision_id": "req_1",
        "config_version": "abc",
        "policy": "auto",
        "category": "math",
        "abstained": None,
        "familiarity": 1.0,
        "skills": {"sums": 1.0},
        "skills_from": "embedding",
        "unknown_skills": [],
        "nearest_skill": ["sums", 0.5],
        "asides": [],
        "stale_profiles": [],
        "plan": {
            "experts": ["ada"],
            "waves": [["ada"]],
            "aggregator": "single",
            "spares": ["bob"],
            "reason": "sure",
        },
        "turns": 1,
        "anchor": 0,
        "overhead_ms": 2.0,
        "budget": {},
        "profile_version": 0,
    }


def test_every_candidate_says_why_it_was_or_was_not_taken() -> None:
    """The plan's reason for those asked, the filter's for those excluded, `ranked_lower` for the rest."""
    found = {c["expert"]: c for c in decision_json(decision())["candidates"]}
    assert {name: (c["taken"], c["why"]) for name, c in found.items()} == {
        "ada": (True, "sure"),
        "bob": (False, "not_needed"),
        "cy": (False, "down"),
    }
    assert {key: found["bob"][key] for key in ("p_correct", "p_spread", "observations")} == {
        "p_correct": 0.6,
        "p_spread": 0.1,
        "observations": 0,
    }


def test_waves_and_the_turn_that_the_route_is_by_are_shown() -> None:
    """Who is asked only while the first have not decided; and which of how many turns set the topic."""
    plan = Plan((("ada", "bob"), ("cy",)), "vote", (), "convened")
    shown = decision_json(decision(plan=plan, turns=4, anchor=2))
    assert (shown["plan"]["experts"], shown["plan"]["waves"]) == (["ada", "bob", "cy"], [["ada", "bob"], ["cy"]])
    assert (shown["turns"], shown["anchor"]) == (4, 2)


def test_a_named_expert_has_no_scores() -> None:
    """The request went around routing, and the explanation shows just that."""
    shown = decision_json(decision(categories=None, skills=None, candidates=(), plan=named(query(model="ada"))))
    assert (shown["category"], shown["categories"], shown["skills"], shown["nearest_skill"]) == (None, {}, {}, None)
    assert (shown["abstained"], shown["familiarity"]) == (None, None)
    assert (shown["candidates"], shown["plan"]["reason"]) == ([], "named")


def test_an_abstention_says_whether_it_was_unsure_or_unfamiliar() -> None:
    """Both lead to `general`; what is far from everything known is unfamiliar however sure the classifier is."""
    unsure = CategoryScores({"math": 0.4}, "general", False, familiarity=0.71239)
    unfamiliar = CategoryScores({"math": 0.9}, "general", False, familiarity=0.1, familiar=False)
    shown = [decision_json(decision(categories=c)) for c in (unsure, unfamiliar)]
    assert [(s["abstained"], s["familiarity"]) for s in shown] == [("unsure", 0.7124), ("unfamiliar", 0.1)]


def test_an_unknown_skill_is_shown_as_unknown() -> None:
    """No skills, and what came closest."""
    shown = decision_json(decision(skills=SkillScores({}, ("sums", 0.2))))
    assert (shown["skills"], shown["nearest_skill"]) == ({}, ["sums", 0.2])


def response(*legs: tuple[Role, EndedLeg], **fields: Any) -> Response:
    """What the decision of these tests has come to, with these legs."""
    known: dict[str, Any] = {"decision": decision(), "heard": unheard, "ended": list(legs)}
    return Response(**(known | fields))


def dollars(_: str, usage: Usage) -> float:
    """A dollar per token."""
    return usage.prompt_tokens + usage.completion_tokens


def test_an_outcome_shows_who_answered_and_the_vote() -> None:
    """Who stood behind which answer, and how probably it is right, beside all that was decided."""
    ballot = Ballot((("42", ("ada", "bob")), ("41", ("cy",))), 2 / 3, posterior=0.876543)
    of = response(answer=Answer("ada", (choice("42"),), ballot), ballot=ballot)
    assert outcome_json(of) == decision_json(of.decision) | {
        "answered_by": "ada",
        "vote": {
            "share": 0.6667,
            "posterior": 0.8765,
            "spread": None,
            "answers": [{"answer": "42", "experts": ["ada", "bob"]}, {"answer": "41", "experts": ["cy"]}],
        },
    }


def test_the_spread_of_open_ended_responses_is_shown() -> None:
    """They were not voted on: there is no posterior."""
    ballot = Ballot((("response 1", ("ada",)),), 1.0, spread=0.123456)
    shown = outcome_json(response(answer=Answer("ada", (choice("hm"),)), ballot=ballot))["vote"]
    assert (shown["posterior"], shown["spread"]) == (None, 0.1235)


def test_without_a_vote_there_is_none() -> None:
    """One expert answered, or nobody did."""
    assert outcome_json(response(answer=Answer("ada", (choice("42"),))))["vote"] is None
    assert outcome_json(response())["answered_by"] is None


def test_who_stepped_in_is_taken() -> None:
    """A spare that was asked in the end says so; who only read others' responses was not asked the question."""
    of = response(("answer", FAILED), ("answer", reply("bob", "42")), ("aggregator", reply("cy", "42")))
    found = {c["expert"]: (c["taken"], c["why"]) for c in outcome_json(of)["candidates"]}
    assert found == {"ada": (True, "sure"), "bob": (True, "stepped_in"), "cy": (False, "down")}


def live(expert: str) -> LiveReply:
    """An answer that is being generated."""

    async def chunks() -> AsyncIterator[JsonObject]:
        yield {"choices": []}

    return LiveReply(
        expert, chunks(), lambda: reply(expert, "", choices=()), lambda error: Failure(expert, "leg", error)
    )


def test_who_is_answering_has_been_asked() -> None:
    """Before its words are through: a stream is explained as a whole answer is."""
    shown = outcome_json(response(("answer", FAILED), live=live("bob")))
    assert shown["answered_by"] == "bob"
    assert {c["expert"] for c in shown["candidates"] if c["taken"]} == {"ada", "bob"}
    writing = response(("answer", reply("ada", "42")), live=live("eve"), role="aggregator")
    assert (writing.answered, outcome_json(writing)["answered_by"]) == (("ada",), "eve")


async def test_a_live_answer_ends_as_a_leg() -> None:
    """Once its words are through it is among the legs, and whoever listens is told."""
    told: list[tuple[Role, EndedLeg]] = []
    of = response(live=live("bob"), heard=lambda role, leg: told.append((role, leg)))
    assert [chunk async for chunk in of.chunks()] == [{"choices": []}]
    assert told == of.ended == [("answer", reply("bob", "", choices=()))]
    assert of.usage == Usage(10, 5)


def test_what_was_spent_is_told_leg_by_leg() -> None:
    """Every call with its tokens and cost, whatever it was for and however it ended; estimates say that they are."""
    of = response(
        ("answer", reply("ada", "42", first_token_s=0.12345)),
        ("answer", FAILED),
        ("answer", Cut("bob", "leg", Usage(10, 1, exact=False), 0.25)),
        ("aggregator", reply("eve", "42")),
        decision=decision(asides=(reply("kim", "Keywords: sums"),)),
        how="synthesize",
        why="synthesize",
    )
    ten_and_five = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    answered = {"outcome": "answered", "usage": ten_and_five, "seconds": 0.5, "cost_usd": 15.0}
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    failed = {"outcome": "timeout", "usage": nothing, "seconds": 5.0, "cost_usd": 0.0}
    cut = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    shown = spent_json(of, dollars)
    assert shown == {
        "aggregated": "synthesize",
        "why": "synthesize",
        "legs": [
            {"expert": "kim", "role": "keywords"} | answered,
            {"expert": "ada", "role": "answer", "first_token_s": 0.1235} | answered,
            {"expert": "ada", "role": "answer"} | failed,
            {
                "expert": "bob", "role": "answer", "outcome": "cut", "usage": cut,
                "estimated": True, "seconds": 0.25, "cost_usd": 11.0,
            },
            {"expert": "eve", "role": "aggregator"} | answered,
        ],
        "cost_usd": 56.0,
    }  # fmt: skip
    assert sum(leg["cost_usd"] for leg in shown["legs"]) == shown["cost_usd"]


def test_who_is_missing_is_told_only_where_somebody_is() -> None:
    """A planned expert that neither answered nor was replaced: the answer was made without it."""
    assert spent_json(response(missing=("cy",)), dollars)["missing"] == ["cy"]
    assert "missing" not in spent_json(response(), dollars)


def test_a_cost_keeps_its_digits_however_small() -> None:
    """Six of them, not six decimal places: a question costs millionths."""
    shown = spent_json(response(("answer", reply("ada", "42"))), lambda _expert, _usage: 1.23456789e-6)
    assert (shown["cost_usd"], shown["legs"][0]["cost_usd"]) == (1.23457e-6, 1.23457e-6)


def test_an_explanation_is_json() -> None:
    """It goes into the response as it is."""
    assert orjson.dumps(outcome_json(response()) | spent_json(response(("answer", FAILED)), dollars))
