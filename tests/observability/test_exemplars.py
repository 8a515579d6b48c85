"""From a slow bar of a dashboard to the trace of a request behind it: exemplars, through a real Prometheus."""

from __future__ import annotations

from pathlib import Path

from tests.api.world import POLICIES, ask
from tests.observability.harness import needs_prometheus, observed, prometheus
from tests.observability.settings import shipped_rules, targets
from tests.support import Recorded, Stranger, eventually, on_a_port

pytestmark = needs_prometheus
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_a_request_s_trace_reaches_prometheus(experts: Recorded, tmp_path: Path) -> None:
    """Its id, as the client sent it, hangs on what was observed of the request and of each call."""
    only = {"auto": POLICIES["auto"]}
    with on_a_port(Stranger()) as collector:
        tracing = {"endpoint": f"{collector}/v1/traces"}
        with (
            observed(tmp_path, experts, policies=only, tracing=tracing) as router,
            prometheus(tmp_path, targets(("r1", router.metrics)), shipped_rules()) as found,
        ):
            assert router.world.post(ask("auto"), traceparent=PARENT).status_code == 200
            for metric in ("symposium_request_seconds_bucket", "symposium_leg_seconds_bucket"):
                eventually(lambda metric=metric: bool(found.exemplars(metric)))  # type: ignore[misc]
                assert {e["labels"]["trace_id"] for e in found.exemplars(metric)} == {TRACE}
