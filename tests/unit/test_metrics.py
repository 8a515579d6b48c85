"""Which series there are, as configurations come and go, and what changes them besides events."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import httpx
import pytest

from experts.errors import ExpertError
from router import funding, plan, rate_limits, unaffordable
from router.events import Booked, Held, LegEnded, LegSettled
from router.labels import LEG_OUTCOMES, OPERATIONS, REASONS, REFUSALS
from router.ledger import Meter, Rate, Standing
from router.metrics_listener import serve_metrics
from router.money import NANOS
from router.records import Usage
from tests.support import http_client
from tests.unit.test_telemetry import samples, telemetry


def constants(module: ModuleType) -> set[str]:
    """Every string that its code holds, docstrings aside."""
    tree = ast.parse(inspect.getsource(module))
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in texts)
    return {node.value for node in nodes if isinstance(node.value, str)}


def test_another_configuration_brings_its_series_and_takes_the_others_away() -> None:
    """The version's too. What stays keeps what it has counted, and what is known of it."""
    of = telemetry()
    of.emit(LegEnded("bob", "l", "answered", 2.0, None))
    of.expert_up.labels("bob").set(1)
    of.expert_up.labels("cy").set(1)  # looked at before it is in force
    of.configured("def", ("bob", "cy"), ("fast",), frozenset({"cy"}), ("math",), 7)
    of.config_applied("def")
    found = samples(of)
    assert not any("expert=ada" in name or "policy=auto" in name or "version=abc" in name for name in found)
    assert found["symposium_legs_total expert=bob outcome=answered"] == 1
    assert found["symposium_legs_total expert=cy outcome=answered"] == 0
    assert found["symposium_expert_up expert=bob"] == found["symposium_expert_up expert=cy"] == 1
    assert found["symposium_stale_profile expert=cy"] == 1
    assert found["symposium_requests_total outcome=answered policy=fast status=200"] == 0
    assert found["symposium_config_info version=def"] == found["symposium_config_applied_total"] == 1
    assert found["symposium_admission_limit"] == 7


def test_what_ends_under_a_name_that_has_gone_is_counted() -> None:
    """Requests under way end with the configuration they began with; the name goes for good with the next one."""
    of = telemetry()
    of.configured("def", ("bob",), ("auto",))
    of.emit(LegSettled("ada", "l", Usage(10, 5)))
    assert samples(of)["symposium_tokens_total exact=true expert=ada kind=output"] == 5
    of.configured("ghi", ("bob",), ("auto",))
    assert not any("expert=ada" in name for name in samples(of))


def test_a_reload_that_is_rejected_counts() -> None:
    """Several at once, where a replica hears of them late."""
    of = telemetry()
    of.config_rejected()
    of.config_rejected(2)
    assert samples(of)["symposium_config_rejected_total"] == 3


def test_the_decision_log_s_records_count_as_written_or_lost() -> None:
    """A reason that is not known here is another one: labels are closed."""
    of = telemetry()
    of.log_written(5)
    of.log_dropped("queue_full", 2)
    of.log_dropped("of whatever a library says")
    found = samples(of)
    assert found["symposium_decision_log_records_total"] == 5
    assert found["symposium_decision_log_dropped_total reason=queue_full"] == 2
    assert found["symposium_decision_log_dropped_total reason=other"] == 1


def test_a_breaker_that_opens_counts_once() -> None:
    """Also where nobody looks at its state before it is closed again."""
    of = telemetry()
    for state in ("open", "half_open", "open", "half_open", "closed"):
        of.breaker_changed("ada", state)
    found = samples(of)
    assert found["symposium_breaker_opened_total expert=ada"] == 2
    assert found["symposium_breaker_opened_total expert=bob"] == 0


def test_a_queue_s_age_is_read_when_it_is_scraped() -> None:
    """Not when it last changed: a queue that stands still emits nothing."""
    of, ages = telemetry(), [1.0, 2.5]
    of.queued("embed", lambda: ages[-1])
    assert samples(of)["symposium_queue_age_seconds queue=embed"] == 2.5
    ages.pop()
    assert samples(of)["symposium_queue_age_seconds queue=embed"] == 1.0


def test_words_are_those_of_the_code() -> None:
    """Every reason of a plan and every end of a call that the code can say has its series."""
    errors = {cls.reason for cls in ExpertError.__subclasses__()}
    assert {*LEG_OUTCOMES} == errors | {"answered", "stopped", "cut", "cancelled"}
    said = {word for word in constants(plan) if re.fullmatch("[a-z_]+", word)}
    others = set("auto single vote consensus synthesize completion pool equal invalid_value".split())
    assert said - others <= {*REASONS, "named"}
    assert {*REASONS} <= said


def words_for(function: str) -> set[str]:
    """Texts that the router's code gives to a function of this name."""
    calls = (
        node
        for file in Path(plan.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == function
    )
    args = (arg for call in calls for arg in call.args)
    return {arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}


def test_words_of_money_are_those_of_the_code() -> None:
    """Whatever the ledger and what is kept beside it are asked for, and every reason that a budget refuses for."""
    said = {word for function in ("LedgerLost", "_lost", "_done", "_answered") for word in words_for(function)}
    assert said <= {*OPERATIONS}
    assert {"take", "settle", "dropped", "beat"} <= said
    refusals = {reason for _, reason in REFUSALS}
    assert {*get_args(unaffordable.Why)} <= refusals
    assert {(rate_limits.CODE, unit) for unit in get_args(Rate.__annotations__["unit"])} <= {*REFUSALS}
    turned = {word for word in constants(funding) if re.fullmatch("[a-z]+", word)}
    assert {"held", "spent", "overload"} <= turned & refusals


def test_another_tenant_s_series_come_and_go() -> None:
    """Of those that are configured, `default` always among them; what one that has gone still does is other's."""
    of = telemetry()
    of.configured("def", ("ada",), ("auto",), tenants=("acme",))
    assert samples(of)["symposium_budget_settled_usd_total tenant=acme"] == 0
    assert samples(of)["symposium_budget_settled_usd_total tenant=default"] == 0
    of.emit(Held("acme", 5 * NANOS))
    of.emit(Held("acme", 2 * NANOS))
    of.configured("ghi", ("ada",), ("auto",))
    found = samples(of)
    assert not any("tenant=acme" in name for name in found)
    assert found["symposium_budget_held_usd tenant=other"] == 7
    of.emit(Booked("acme", 5 * NANOS, 3 * NANOS))
    found = samples(of)
    assert found["symposium_budget_held_usd tenant=other"] == 2
    assert found["symposium_budget_settled_usd_total tenant=other"] == 3
    of.configured("jkl", ("ada",), ("auto",), tenants=("acme",))
    assert samples(of)["symposium_budget_held_usd tenant=acme"] == 2
    assert samples(of)["symposium_budget_held_usd tenant=other"] == 0


def test_what_is_held_is_summed_exactly() -> None:
    """After a thousand tenths of a cent have come and gone nothing is left: no sum of floats would say so."""
    of = telemetry()
    for _ in range(1000):
        of.emit(Held("default", NANOS // 1000))
    assert samples(of)["symposium_budget_held_usd tenant=default"] == 1
    for _ in range(1000):
        of.emit(Booked("default", NANOS // 1000, 1))
    assert samples(of)["symposium_budget_held_usd tenant=default"] == 0


def test_how_tenants_stand_is_what_the_ledger_says() -> None:
    """In dollars. A budget that is no more is not shown any more, nor a tenant that has gone."""

    def stands(settled: int) -> Standing:
        return Standing(Meter("tenant/acme", "2026-11", 10 * NANOS), settled, NANOS // 2)

    of = telemetry()
    of.configured("def", ("ada",), ("auto",), tenants=("acme",))
    of.money.stand({("acme", "day"): stands(4 * NANOS), ("acme", "month"): stands(6 * NANOS)})
    found = samples(of)
    names = ("limit", "settled", "held")
    assert [found[f"symposium_tenant_{n}_usd period=day tenant=acme"] for n in names] == [10, 4, 0.5]
    of.money.stand({("acme", "month"): stands(6 * NANOS)})
    assert {name for name in samples(of) if "symposium_tenant" in name} == {
        f"symposium_tenant_{n}_usd period=month tenant=acme" for n in names
    }
    of.configured("ghi", ("ada",), ("auto",))
    of.money.stand({})
    assert not any("symposium_tenant" in name for name in samples(of))


def test_lanes_are_read_when_they_are_scraped() -> None:
    """Of every expert that there is, also of one that comes later; of no other."""
    of, waiting = telemetry(), {"ada": 1, "bob": 2, "cy": 3}
    of.lanes(waiting.__getitem__, lambda expert: 10 + waiting[expert], lambda expert: 100)
    waiting["ada"] = 5
    found = samples(of)
    assert found["symposium_queue_waiting expert=ada"] == 5
    assert found["symposium_calls_under_way expert=bob"] == 12
    assert found["symposium_calls_limit expert=bob"] == 100
    assert "symposium_queue_waiting expert=cy" not in found
    of.configured("def", ("bob", "cy"), ("auto",))
    assert samples(of)["symposium_queue_waiting expert=cy"] == 3
    assert samples(of)["symposium_queue_waiting expert=bob"] == 2


def scrape(port: int, accept: str) -> tuple[str, str]:
    """Content type and text."""
    with http_client(f"http://127.0.0.1:{port}") as http:
        reply = http.get("/metrics", headers={"accept": accept})
    return reply.headers["content-type"], reply.text


def test_a_listener_speaks_prometheus_and_openmetrics() -> None:
    """As it is asked; once it is closed, nobody listens there any more."""
    listener, port = serve_metrics(telemetry().registry, "127.0.0.1")
    try:
        kind, text = scrape(port, "text/plain")
        assert kind.startswith("text/plain; version=")
        assert 'symposium_expert_up{expert="ada"} 0.0' in text
        kind, text = scrape(port, "application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert text.endswith("# EOF\n")
    finally:
        listener.close()
    with pytest.raises(httpx.ConnectError):
        scrape(port, "text/plain")


def test_a_port_that_is_taken_is_refused() -> None:
    """Not another one taken in its place."""
    listener, port = serve_metrics(telemetry().registry, "127.0.0.1")
    try:
        with pytest.raises(OSError, match="in use"):
            serve_metrics(telemetry().registry, "127.0.0.1", port)
    finally:
        listener.close()
