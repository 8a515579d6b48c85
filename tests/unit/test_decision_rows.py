"""What the decision log says of a request and of a call: all that is known, and nobody's words."""

from __future__ import annotations

import json
import re
from dataclasses import astuple, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.errors import ExpertOutOfTime, ExpertTimeout
from router.budget import Fit
from router.decision_rows import SCHEMA_VERSION, DecisionRow, LegRow, Terms, decision_row, leg_of, leg_row
from router.records import Cut, Failure, Plan, SkillScores, Usage
from tests.unit.make import decision, query, reply
from tests.unit.make_decisions import (
    BUDGET,
    NOON,
    TERMS,
    ended,
    finished,
    refused,
    response,
    settled,
    usd,
    words,
)  # fmt: skip


def test_an_answered_request_is_told_from_its_admission_to_its_last_byte() -> None:
    """Who asked, how it ended and when, what was decided and why, what came of it and what it cost."""
    about = decision(query=query("What is 6 + 7?", stream=True), plan=Plan((("ada", "bob"),), "vote", (), "convened"))
    row = decision_row(finished(decision=about), NOON, TERMS, words())
    assert (row.schema_version, row.unix_s, row.request_id, row.principal) == (SCHEMA_VERSION, NOON, "req_1", "alice")
    assert (row.outcome, row.status, row.code) == ("answered", 200, None)
    assert (row.seconds, row.first_byte_s, row.overhead_s) == (0.5, 0.25, 0.002)
    assert (row.policy, row.model, row.kind, row.stream) == ("auto", "auto", "chat", True)
    assert (row.config_version, row.category, row.abstained) == ("abc", "math", None)
    assert (row.planned, row.reason, row.aggregated, row.why) == ("vote", "convened", "vote", "vote")
    assert (row.answered_by, row.legs, row.vote_share, row.vote_posterior) == ("ada", 2, 0.6, 0.9)
    assert (row.prompt_tokens, row.completion_tokens, row.usage_exact, row.cost_usd) == (20, 10, True, 30.0)


def test_what_has_parts_is_json() -> None:
    """Categories, skills, candidates with P(correct) and why, the plan, the vote, who was missing."""
    row = decision_row(finished(), NOON, TERMS, words())
    assert json.loads(row.categories_json or "") == {"math": 0.75, "text": 0.25}
    assert json.loads(row.skills_json or "")["weights"] == {"sums": 1.0}
    candidates = {c["expert"]: c for c in json.loads(row.candidates_json or "")}
    assert (candidates["ada"]["p_correct"], candidates["ada"]["why"]) == (0.9, "sure")
    assert (candidates["bob"]["why"], candidates["cy"]["why"]) == ("stepped_in", "down")
    assert json.loads(row.plan_json or "")["waves"] == [["ada"]]
    assert [vote["experts"] for vote in json.loads(row.vote_json or "")] == [["ada", "bob"], ["cy"]]
    assert (json.loads(row.missing_json or ""), json.loads(row.stale_json or "")) == ([], [])


def test_a_budget_and_what_came_of_it_are_told() -> None:
    """Who pays, what the query might spend and who said so, what was given up, what it was worth, how it ended."""
    fit = Fit("one_expert", quality=0.75)
    about = decision(budget=BUDGET, plan=Plan((("ada",),), "single", (), "convened", fit=fit))
    made = response(about, "ada")
    made.hear("answer")(Failure("bob", "req_1-1", ExpertOutOfTime("bob", "nothing had come"), Usage()))
    made.missing = ("bob",)
    row = decision_row(finished(decision=about, response=made), NOON, TERMS, words())
    assert (row.tenant, row.deadline_s, row.max_cost_usd) == ("acme", 2.0, 0.5)
    assert (row.degraded, row.quality, row.ended_early, row.refused_for) == ("one_expert", 0.75, "deadline", None)
    sources = {"deadline_s": "query", "nanos": "tenant"}
    assert json.loads(row.budget_json or "") == {"deadline_ms": 2000, "max_cost_usd": 0.5, "from": sources}


def test_a_plan_that_fits_as_it_is_gives_nothing_up() -> None:
    """No rung of the ladder was taken; without a budget there is nothing to say."""
    fits = decision_row(
        finished(decision=decision(plan=Plan((("ada",),), "single", (), "x", fit=Fit()))), NOON, TERMS, words()
    )
    assert (fits.degraded, fits.quality, fits.deadline_s, fits.max_cost_usd) == (None, 0.0, None, None)
    assert decision_row(finished(decision=decision()), NOON, TERMS, words()).quality is None


def test_a_refusal_says_what_was_short() -> None:
    """One word beside the error's code, which several reasons share."""
    row = decision_row(replace(refused(), code="insufficient_quota", why="spent", tenant="acme"), NOON, TERMS, words())
    assert (row.code, row.refused_for, row.tenant) == ("insufficient_quota", "spent", "acme")


def test_a_request_that_was_refused_before_it_was_decided_is_a_row_too() -> None:
    """With how it ended; the rest is None, for there is nothing to tell."""
    row = decision_row(refused(), NOON, TERMS, words())
    assert (row.outcome, row.status, row.code, row.policy) == ("refused", 401, "invalid_api_key", "")
    assert set(astuple(row)[10:]) == {None}


def test_a_request_that_nobody_answered_tells_what_was_decided() -> None:
    """There is no response; what its calls cost is in their own rows."""
    row = decision_row(
        finished(response=None, outcome="failed", status=502, code="experts_failed"), NOON, TERMS, words()
    )
    assert (row.category, row.code, row.answered_by, row.cost_usd) == ("math", "experts_failed", None, None)


def test_tokens_of_calls_that_failed_or_were_cut_count() -> None:
    """They cost money, whatever came of them; where a number is an estimate the sum says so."""
    about = decision()
    made = response(about, "ada")
    made.hear("answer")(Failure("bob", "req_1-1", ExpertTimeout("bob", "first byte", 1.0), Usage(7, 0, exact=False)))
    made.hear("answer")(Cut("bob", "req_1-2", Usage(3, 2, exact=False)))
    row = decision_row(finished(decision=about, response=made), NOON, TERMS, words())
    assert (row.legs, row.prompt_tokens, row.completion_tokens, row.usage_exact) == (3, 20, 7, False)
    assert row.cost_usd == 27.0


def test_an_expert_that_is_gone_has_no_price() -> None:
    """The cost is not known then, rather than too low."""
    about = decision()
    row = decision_row(finished(decision=about, response=response(about, "ada", "zoe")), NOON, TERMS, words())
    assert (row.prompt_tokens, row.cost_usd) == (20, None)


NAMES = re.compile(r"`(\w+)`")
SAID = ["What is my secret?", "of the keyword expert", "what a model answered"]


def told(policy: str) -> DecisionRow:
    """The row of a request in which somebody said each of SAID."""
    skills = SkillScores({"sums": 1.0}, unknown=(SAID[1],))
    aside = reply("namer", SAID[1])
    about = decision(query=query(SAID[0]), policy=policy, skills=skills, asides=(aside,))
    made = response(about, "ada")
    assert made.ballot is not None
    made.ballot = replace(made.ballot, answers=((SAID[2], ("ada",)),))
    return decision_row(finished(decision=about, response=made), NOON, TERMS, words(mode=TERMS.prompts(policy)))


def test_nobodys_words_are_in_a_row() -> None:
    """Not the client's, not the keyword expert's about them, not an answer's: hashes are, unless a policy says else."""
    row = told("auto")
    assert not [said for said in SAID for value in astuple(row) if said in str(value)]
    assert row.question is None
    assert row.prompt_hash == row.question_hash
    assert json.loads(row.vote_json or "")[0]["answer"] == words().hash(SAID[2])


def test_a_policy_may_have_them_kept() -> None:
    """Its own requests' only; the hash stays."""
    row = told("open")
    assert row.question == SAID[0]
    assert json.loads(row.skills_json or "")["unknown"] == [SAID[1]]
    assert json.loads(row.vote_json or "")[0]["answer"] == SAID[2]
    assert row.prompt_hash == told("auto").prompt_hash


def test_what_is_kept_is_redacted_and_cut() -> None:
    """Never more than its bound, never an address."""
    kept = words(mode="redacted", max_chars=20).kept("mail ann@example.com " + "and " * 500)
    assert kept is not None
    assert kept.startswith("mail [email]")
    assert len(kept) <= 21


def test_an_expert_asked_by_its_name_has_no_policy_that_says_else() -> None:
    """Its requests' texts are hashes."""
    assert TERMS.prompts("expert") == Terms(usd).prompts("open") == "hash"


@given(
    st.lists(st.text(st.characters(codec=None)), max_size=3), st.lists(st.text(st.characters(codec=None)), max_size=3)
)
def test_hashes_are_equal_for_equal_texts_only(some: list[str], other: list[str]) -> None:
    """Of whatever text; where one message ends and the next begins counts."""
    assert (words().hash(*some) == words().hash(*other)) == (some == other)


def test_a_hash_says_nothing_without_the_key() -> None:
    """Who guesses a short prompt cannot find it by its hash: another key, another hash."""
    assert words().hash("yes") != words(key=b"other").hash("yes")


def test_halves_of_characters_can_be_stored() -> None:
    """A client's JSON may have a lone surrogate, which no file can."""
    kept = words(mode="redacted").kept("a\ud800b")
    assert kept is not None
    assert kept.encode() == b"a?b"


@pytest.mark.parametrize(
    ("leg_id", "role"),
    [
        ("req_1-0", "answer"),
        ("req_1-2xr", "answer"),
        ("req_1-k", "keywords"),
        ("req_1-s-0", "aggregator"),
        ("req_1-s-0x", "aggregator"),
    ],
)
def test_a_call_knows_its_request_and_its_part(leg_id: str, role: str) -> None:
    """By its id, which the dispatcher makes of the request's."""
    assert leg_of(leg_id) == ("req_1", role)


def test_a_call_is_told_with_its_end_and_its_usage() -> None:
    """Outcome, times, tokens, cost; also of one that was aborted."""
    row = leg_row(ended(outcome="cut"), settled(usage=Usage(10, 5, exact=False)), NOON, TERMS)
    assert (row.request_id, row.leg_id, row.expert, row.role) == ("req_1", "req_1-0", "ada", "answer")
    assert (row.outcome, row.seconds, row.first_token_s) == ("cut", 0.5, 0.125)
    assert (row.prompt_tokens, row.completion_tokens, row.usage_exact, row.cost_usd) == (10, 5, False, 15.0)


def test_of_a_call_half_may_be_known() -> None:
    """Its usage may never come."""
    assert leg_row(ended(), None, NOON, TERMS).prompt_tokens is None
    assert leg_row(None, settled(), NOON, TERMS).outcome is None


def test_absurd_token_counts_can_be_stored() -> None:
    """An expert elsewhere may say any number; a column holds 64 bits."""
    row = leg_row(None, settled(usage=Usage(2**80, 5)), NOON, TERMS)
    assert row.prompt_tokens == 2**63 - 1


@pytest.mark.parametrize("kind", [DecisionRow, LegRow])
def test_the_docs_say_what_every_column_means(kind: type[DecisionRow] | type[LegRow]) -> None:
    """And of nothing that is no column."""
    text = (Path(__file__).parents[2] / "docs" / "decisions.md").read_text(encoding="utf-8")
    _, decisions, legs = text.split("| column | |\n|---|---|\n")
    rows = (decisions if kind is DecisionRow else legs).split("\n\n")[0].splitlines()
    told = [name for row in rows for name in NAMES.findall(row.split("|")[1])]
    assert sorted(told) == sorted(field.name for field in fields(kind))
