"""What becomes of requests in the decision log: everybody's, however they end, and what every call cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.decision_files import FOLDER, Row, read
from router.decision_rows import DecisionRow, LegRow
from tests.api.world import POLICIES, SUM, WHO, World, ask, routing
from tests.support import Recorded, eventually

OPEN = {"open": {"experts": ["ant"], "prompts": "redacted"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logged")


@pytest.fixture(scope="module")
def logged(experts: Recorded, folder: Path) -> Iterator[World]:
    """A router that writes its log soon."""
    with routing(folder, experts, decisions={"flush_s": 0.05}, policies=POLICIES | OPEN) as world:
        yield world


def rows(folder: Path, kind: type[Row], request_id: str) -> list[dict[str, Any]]:
    return list(read(folder / "data" / FOLDER, kind, [request_id]))


def logged_row(folder: Path, request_id: str) -> dict[str, Any]:
    """The row of a request, once it is there."""
    eventually(lambda: bool(rows(folder, DecisionRow, request_id)))
    (row,) = rows(folder, DecisionRow, request_id)
    return row


def test_a_vote_is_one_row_with_what_its_response_says(logged: World, folder: Path) -> None:
    """Decision, outcome and cost as the client was told them, and a row for each call; nobody's words."""
    answer = logged.post(ask("auto", symposium={"explain": True}))
    told = answer.json()["symposium"]
    row = logged_row(folder, answer.headers["x-symposium-decision-id"])
    assert (row["outcome"], row["status"], row["policy"], row["principal"]) == ("answered", 200, "auto", "anonymous")
    for name in ("category", "aggregated", "why", "answered_by", "config_version", "turns", "anchor"):
        assert row[name] == told[name], name
    assert row["cost_usd"] == pytest.approx(told["cost_usd"])
    for name in ("categories", "candidates", "plan"):
        assert json.loads(row[f"{name}_json"]) == told[name]
    assert 0 < row["overhead_s"] < row["first_byte_s"] <= row["seconds"]
    calls = rows(folder, LegRow, row["request_id"])
    assert sorted(c["expert"] for c in calls) == sorted(leg["expert"] for leg in told["legs"])
    assert {(c["role"], c["outcome"]) for c in calls} == {("answer", "answered")}
    assert sum(c["cost_usd"] for c in calls) == pytest.approx(row["cost_usd"])
    assert row["prompt_tokens"] == sum(c["prompt_tokens"] for c in calls)
    assert SUM not in json.dumps(row)


def test_equal_prompts_are_found_by_their_hash(logged: World, folder: Path) -> None:
    """Without knowing them."""
    ids = [logged.post(ask("solo", text)).headers["x-symposium-decision-id"] for text in (SUM, SUM, WHO)]
    first, again, other = (logged_row(folder, request_id)["prompt_hash"] for request_id in ids)
    assert first == again != other


def test_a_stream_is_a_row_once_it_is_through(logged: World, folder: Path) -> None:
    """With the usage of the one call that was passed on."""
    answer = logged.post(ask("solo", stream=True))
    row = logged_row(folder, answer.headers["x-symposium-decision-id"])
    assert (row["stream"], row["legs"], row["answered_by"], row["outcome"]) == (1, 1, "ant", "answered")
    assert row["completion_tokens"] == 6


def test_a_request_that_nobody_answered_has_its_calls(logged: World, folder: Path) -> None:
    """There is no response to tell them; each failed call is a row."""
    answer = logged.post(ask("dead"))
    assert answer.status_code == 502
    eventually(lambda: any(r["policy"] == "dead" for r in read(folder / "data" / FOLDER, DecisionRow)))
    failed = [r for r in read(folder / "data" / FOLDER, DecisionRow) if r["policy"] == "dead"]
    assert [(r["outcome"], r["status"], r["code"], r["category"]) for r in failed] == [
        ("failed", 502, "experts_failed", "sums")
    ]
    eventually(lambda: len(rows(folder, LegRow, failed[0]["request_id"])) == 2)
    assert {c["expert"] for c in rows(folder, LegRow, failed[0]["request_id"])} == {"mute", "numb"}


def test_a_request_that_was_refused_is_a_row_without_a_decision(logged: World, folder: Path) -> None:
    """Nothing of what the client made up is in it."""
    assert logged.post(ask("a-name-made-up")).status_code == 404
    assert logged.post({"model": "auto"}).status_code == 400

    def refused() -> list[dict[str, Any]]:
        return [r for r in read(folder / "data" / FOLDER, DecisionRow) if r["outcome"] == "refused"]

    eventually(lambda: len(refused()) == 2)
    assert {(r["status"], r["code"]) for r in refused()} >= {(404, "model_not_found")}
    assert {(r["config_version"], r["model"], r["prompt_hash"]) for r in refused()} == {(None, None, None)}


def test_a_policy_may_keep_what_was_asked_redacted(logged: World, folder: Path) -> None:
    """Its own requests' questions only."""
    logged.post(ask("open", "What is 1 + 1? Tell ann@example.com"))  # which no expert has an answer to

    def kept() -> set[str]:
        return {r["question"] for r in read(folder / "data" / FOLDER, DecisionRow) if r["question"] is not None}

    eventually(lambda: bool(kept()))
    assert kept() == {"What is 1 + 1? Tell [email]"}


def test_what_is_written_is_counted(logged: World, folder: Path) -> None:
    """The metrics say how many records there are, and that none was lost."""
    answer = logged.post(ask("solo"))
    logged_row(folder, answer.headers["x-symposium-decision-id"])
    there = [*read(folder / "data" / FOLDER, DecisionRow), *read(folder / "data" / FOLDER, LegRow)]
    eventually(lambda: logged.metric("symposium_decision_log_records_total") >= len(there))
    assert logged.metric("symposium_decision_log_dropped_total") == 0


def test_what_was_asked_last_is_there_after_the_end(experts: Recorded, tmp_path: Path) -> None:
    """A router that is stopped writes what it has, however long a flush would have been."""
    with routing(tmp_path, experts, decisions={"flush_s": 60}) as world:
        request_id = world.post(ask("auto")).headers["x-symposium-decision-id"]
    assert len(rows(tmp_path, DecisionRow, request_id)) == 1
    assert len(rows(tmp_path, LegRow, request_id)) == 3


def test_a_router_without_a_log_writes_nothing(experts: Recorded, tmp_path: Path) -> None:
    """An operator may want none."""
    with routing(tmp_path, experts, decisions={"enabled": False}) as world:
        assert world.post(ask("auto")).status_code == 200
    assert not (tmp_path / "data" / "decisions").exists()


def test_a_budget_is_told_with_what_it_led_to(logged: World, folder: Path) -> None:
    """As the client was told it: what was given up; and of a request that was refused what was short."""
    wished = {"max_cost_usd": 2.5e-5, "deadline_ms": 20_000}
    body = ask("auto", max_tokens=6, symposium={"budget": wished, "explain": True})
    answer = logged.post(body)
    told = answer.json()["symposium"]
    row = logged_row(folder, answer.headers["x-symposium-decision-id"])
    assert (row["tenant"], row["deadline_s"], row["max_cost_usd"]) == ("default", 20.0, 2.5e-5)
    assert (row["degraded"], row["ended_early"]) == (told["degraded"], None)
    assert row["quality"] == pytest.approx(told["plan"]["expected_quality"], abs=1e-4)
    assert json.loads(row["budget_json"]) == told["budget"]
    assert logged.post(ask("auto", symposium={"budget": {"max_cost_usd": 1e-9}})).status_code == 429

    def refusals() -> list[dict[str, Any]]:
        return [r for r in read(folder / "data" / FOLDER, DecisionRow) if r["code"] == "insufficient_quota"]

    eventually(lambda: bool(refusals()))
    assert {(r["tenant"], r["refused_for"], r["outcome"]) for r in refusals()} == {("default", "cost", "refused")}
