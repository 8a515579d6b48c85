"""Events of a request's end and of its calls, and the little that the decision log needs beside them."""

from __future__ import annotations

from typing import Any

from router.budget import Budget
from router.config import Policy
from router.config_observability import Decisions
from router.decision_rows import DecisionRow, LegRow, Terms, Words, decision_row, leg_row
from router.events import Finished, LegEnded, LegSettled
from router.money import NANOS
from router.records import Answer, Ballot, Decision, Usage
from router.response import Response, unheard
from tests.unit.make import choice, decision, reply

NOON = 1_767_182_400.0  # 2025-12-31 12:00 UTC
DAY_S = 86_400.0
BALLOT = Ballot((("13", ("ada", "bob")), ("14", ("cy",))), 0.6, 0.9)
KEY = b"k" * 32
USED = Usage(10, 5)
BUDGET = Budget(deadline_s=2.0, nanos=NANOS // 2, source={"deadline_s": "query", "nanos": "tenant"})
SETTINGS: dict[str, Any] = {"max_mb": 10, "file_mb": 5}


def usd(expert: str, usage: Usage) -> float:
    """`ada` and `bob` cost a dollar a token; nobody else is known."""
    return {"ada": 1.0, "bob": 1.0}[expert] * (usage.prompt_tokens + usage.completion_tokens)


TERMS = Terms(usd, {"auto": Policy(), "open": Policy(prompts="redacted")})


def settings(**fields: Any) -> Decisions:
    return Decisions.model_validate(SETTINGS | fields)


def words(**fields: Any) -> Words:
    known: dict[str, Any] = {"key": KEY, "max_chars": 100}
    return Words(**(known | fields))


def response(about: Decision, *experts: str) -> Response:
    """A vote of these experts, with `ada`'s answer."""
    made = Response(about, unheard, "vote", "vote", Answer("ada", (choice("13"),), BALLOT), ballot=BALLOT)
    for name in experts:
        made.hear("answer")(reply(name, "13", first_token_s=0.1))
    return made


def finished(request_id: str = "req_1", **fields: Any) -> Finished:
    """A request that was answered by `ada` and `bob`, within 2 s and half a dollar."""
    about = fields.pop("decision", decision(budget=BUDGET))
    known: dict[str, Any] = {
        "policy": "auto",
        "outcome": "answered",
        "status": 200,
        "seconds": 0.5,
        "request_id": request_id,
        "principal": "alice",
        "first_byte_s": 0.25,
        "decision": about,
        "response": response(about, "ada", "bob"),
        "tenant": "acme",
    }
    return Finished(**(known | fields))


def refused(request_id: str = "req_1") -> Finished:
    """A request that was over before anything was decided."""
    return Finished("", "refused", 401, 0.001, request_id, code="invalid_api_key")


def ended(leg_id: str = "req_1-0", outcome: str = "answered") -> LegEnded:
    return LegEnded("ada", leg_id, outcome, 0.5, 0.125)


def settled(leg_id: str = "req_1-0", usage: Usage = USED) -> LegSettled:
    return LegSettled("ada", leg_id, usage, "auto")


def row(request_id: str = "req_1", unix_s: float = NOON) -> DecisionRow:
    return decision_row(finished(request_id), unix_s, TERMS, words())


def call(leg_id: str = "req_1-0", unix_s: float = NOON) -> LegRow:
    return leg_row(ended(leg_id), settled(leg_id), unix_s, TERMS)
