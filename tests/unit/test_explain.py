"""What a client is shown of a decision and of its outcome."""

from __future__ import annotations

import orjson
import pytest

from experts.errors import ExpertTimeout
from router.explain import decision_json, outcome_json
from router.plan import named
from router.records import Answer, Ballot, CategoryScores, Failure, SkillScores
from tests.unit.make import categories, choice, decision, reply


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
        "plan": {"experts": ["ada"], "aggregator": "single", "spares": ["bob"], "reason": "sure"},
        "overhead_ms": 2.0,
    }


def test_every_candidate_says_why_it_was_or_was_not_taken() -> None:
    """The plan's reason for those asked, the filter's for those excluded, `ranked_lower` for the rest."""
    found = {c["expert"]: c for c in decision_json(decision())["candidates"]}
    assert {name: (c["taken"], c["why"]) for name, c in found.items()} == {
        "ada": (True, "sure"),
        "bob": (False, "not_needed"),
        "cy": (False, "down"),
    }
    assert (found["bob"]["p_correct"], found["bob"]["observations"]) == (0.6, 0)


def test_a_named_expert_has_no_scores() -> None:
    """The request went around routing, and the explanation shows just that."""
    shown = decision_json(decision(categories=None, skills=None, candidates=(), plan=named("ada")))
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


def test_an_outcome_shows_replies_failures_and_the_vote() -> None:
    """Who answered with what usage, who failed and why, who stood behind which answer."""
    ballot = Ballot((("42", ("ada", "bob")), ("41", ("cy",))), 2 / 3)
    shown = outcome_json(
        Answer("ada", (choice("42"),), ballot),
        [reply("ada", "42")],
        [Failure("dan", "leg", ExpertTimeout("dan", "answer", 5))],
    )
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert shown == {
        "answered_by": "ada",
        "replies": [{"expert": "ada", "usage": usage, "seconds": 0.5}],
        "failures": [{"expert": "dan", "reason": "timeout"}],
        "vote": {
            "share": pytest.approx(0.6667),
            "answers": [{"answer": "42", "experts": ["ada", "bob"]}, {"answer": "41", "experts": ["cy"]}],
        },
    }


def test_without_a_vote_there_is_none() -> None:
    """One expert answered, or nobody did."""
    assert outcome_json(Answer("ada", (choice("42"),)))["vote"] is None
    assert outcome_json(None)["answered_by"] is None


def test_an_explanation_is_json() -> None:
    """It goes into the response as it is."""
    assert orjson.dumps(decision_json(decision()) | outcome_json(None))
