"""A stand-in for the admin side as Prometheus sees it: targets, and an engine's own metrics, behind a token."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

TOKEN = "only-for-prometheus"
# As vLLM writes them: with labels of its own, of which `engine` is the number of a core.
ENGINE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} {cache}
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{{engine="0",model_name="m"}} {preempted}
# TYPE vllm:request_queue_time_seconds histogram
vllm:request_queue_time_seconds_bucket{{engine="0",le="0.5",model_name="m"}} {quick}
vllm:request_queue_time_seconds_bucket{{engine="0",le="1.5",model_name="m"}} {all}
vllm:request_queue_time_seconds_bucket{{engine="0",le="+Inf",model_name="m"}} {all}
vllm:request_queue_time_seconds_count{{engine="0",model_name="m"}} {all}
vllm:request_queue_time_seconds_sum{{engine="0",model_name="m"}} {all}
"""
IDLE = ENGINE.format(running=0, waiting=0, cache=0.0, tokens=0, preempted=0, quick=0, all=0)
BUSY = ENGINE.format(running=3, waiting=2, cache=0.25, tokens=120, preempted=1, quick=5, all=10)


@dataclass(slots=True)
class AdminStandIn:
    """Says which replicas there are, and one engine's metrics as they were set last."""

    routers: dict[str, str]  # replica -> host:port
    engine: str = IDLE

    def app(self) -> Starlette:
        paths = {"/admin/v1/targets": self._targets, "/admin/v1/engines/small/metrics": self._metrics}
        return Starlette(routes=[Route(path, handler) for path, handler in paths.items()])

    async def _targets(self, request: Request) -> Response:
        if not _may(request):
            return Response(status_code=401)
        groups = [
            {"targets": [where], "labels": {"job": "symposium-router", "replica": replica}}
            for replica, where in self.routers.items()
        ]
        engine = {"job": "symposium-engine", "engine": "small", "__metrics_path__": "/admin/v1/engines/small/metrics"}
        return JSONResponse([*groups, {"targets": [request.headers["host"]], "labels": engine}])

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self.engine, media_type="text/plain; version=0.0.4") if _may(request) else _no()


def _may(request: Request) -> bool:
    return request.headers.get("authorization") == f"Bearer {TOKEN}"


def _no() -> Response:
    return Response(status_code=401)
