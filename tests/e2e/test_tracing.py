"""One trace through all of it: a client's span, the router's, and what vLLM itself says of the request."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import yaml

from loadtest.server import REPOSITORY, serving
from tests.api.collector import Collector
from tests.support import eventually, on_a_port

pytestmark = pytest.mark.engine
TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def configuration(folder: Path, endpoint: str) -> Path:
    quickstart = yaml.safe_load((REPOSITORY / "configs" / "quickstart.yaml").read_text())
    weights = REPOSITORY / "experts" / "zoo" / "weights"
    engine = quickstart["engines"]["specialists"]
    engine |= {"model": str(weights / "base"), "args": engine["args"] | {"otlp-traces-endpoint": endpoint}}
    engine["env"] |= {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    settings = REPOSITORY / "configs" / "quickstart"
    written = {
        "version": 1,
        "data": str(folder / "data"),
        "engines": {"specialists": engine},
        "experts": {"math": quickstart["experts"]["math"] | {"lora": str(weights / "lora" / "math")}},
        "routing": {
            "fitted": str(settings / "fitted.npz"),
            "profiles": str(settings / "profiles.json"),
            "general_expert": "math",
        },
        "tracing": {"endpoint": endpoint},
    }
    path = folder / "symposium.yaml"
    path.write_text(yaml.safe_dump(written))
    return path


def test_an_engines_own_spans_hang_below_the_leg(tmp_path: Path) -> None:
    """Client → request → leg → vLLM's span: each names the one above as its parent, over every hop between."""
    collector = Collector()
    with on_a_port(collector) as url, serving(configuration(tmp_path, f"{url}/v1/traces"), tmp_path / "log") as served:
        reply = httpx.post(
            f"{served.url}/v1/chat/completions",
            json={"model": "auto", "messages": [{"role": "user", "content": "What is 17 plus 25?"}], "max_tokens": 8},
            headers={"traceparent": f"00-{TRACE}-{CLIENT}-01"},
            timeout=60,
        )
        assert reply.status_code == 200
        assert reply.headers["x-symposium-trace-id"] == TRACE
        eventually(lambda: {"client", "internal"} <= {span.kind for span in collector.of(TRACE)})
        eventually(lambda: any(span.parent_id == CLIENT for span in collector.of(TRACE)))
        eventually(lambda: any(span.service != "symposium" for span in collector.of(TRACE)))
    spans = collector.of(TRACE)
    (request,) = (span for span in spans if span.parent_id == CLIENT)
    (leg,) = (span for span in spans if span.kind == "client")
    assert leg.parent_id == request.span_id
    engines = [span for span in spans if span.service != "symposium"]
    assert leg.span_id in {span.parent_id for span in engines}
    assert leg.attributes["gen_ai.provider.name"] == "vllm"
    assert leg.attributes["symposium.usage.exact"] is True
