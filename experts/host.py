"""A vLLM engine as a Ray Serve application. The only file that imports vllm (and only when a replica starts).

The replica serves vLLM's own OpenAI application, so chat templates, parsers, structured output, LoRA and
`/metrics` are vLLM's. Ours are: the door in front of it (`experts.guard`), the count of what each leg
generated (`experts.accounting`), the health check that lets Serve replace a dead engine.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from experts.accounting import LegLedger, ObservedRequests
from experts.delivery import Delivery
from experts.guard import Guard, internal_token
from experts.spec import Engine, EngineValue

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator, Mapping, Sequence

    from ray.serve import Application
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

# All that a router needs of an engine. vLLM's other routes (/invocations, /tokenize, /sleep,
# /collective_rpc, ...) are not reachable whatever its settings are.
ALLOWED_PATHS: Final = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/health",
    "/metrics",
    "/internal/legs/",
)
LEG_HEADER: Final = "x-request-id"  # vLLM names its requests after it, so that logs agree
MAX_WAIT_S: Final = 10.0
MAX_LISTED: Final = 1000
NOTICE_S: Final = 0.5  # for vLLM to act on a disconnect by itself
REAP_PAUSES_S: Final = (0.0, 0.02, 0.2)


def engine_arguments(name: str, engine: Engine, loras: Mapping[str, str]) -> list[str]:
    """vLLM's command line for one engine: the operator's `args` unchanged, plus names and adapters.

    True becomes `--flag`, False `--no-flag`, None is left out, objects become JSON.
    """
    argv = ["--model", engine.model, "--served-model-name", name]
    for key, value in engine.args.items():
        argv += _argument(key, value)
    if loras:
        if "enable-lora" not in engine.args:
            argv.append("--enable-lora")
        if "max-loras" not in engine.args:
            # One slot more than adapters: on CPU, vLLM 0.29 gives a request without one the last adapter otherwise.
            argv += ["--max-loras", str(len(loras) + 1)]
        argv.append("--lora-modules")
        argv += [json.dumps({"name": lora, "path": path}) for lora, path in loras.items()]
    return argv


def _argument(key: str, value: EngineValue) -> list[str]:
    match value:
        case None:
            return []
        case bool():
            return [f"--{key}" if value else f"--no-{key}"]
        case dict():
            return [f"--{key}", json.dumps(value)]
        case list():
            return [f"--{key}", *map(str, value)]
        case _:
            return [f"--{key}", str(value)]


class _EngineServer:
    """What vLLM's engine-dead handler expects its launcher to have set: a server that can be told to exit."""

    should_exit = False


class EngineApp:
    """The replica's ASGI application: guard, leg accounting, then vLLM's application.

    The engine is started by the ASGI lifespan, so a replica is ready only when vLLM is.
    """

    def __init__(self, name: str, engine: Engine, loras: Mapping[str, str]) -> None:
        self.name = name
        self._engine = engine
        self._loras = dict(loras)
        self._ledger = LegLedger(time.time)
        self._server = _EngineServer()
        self._reaping: set[asyncio.Task[None]] = set()
        self._llm: Any = None
        self._vllm_app: ASGIApp | None = None
        self._app = Guard(self._build(), internal_token(), ALLOWED_PATHS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def check_health(self) -> None:
        """Raises when the engine is dead, so that Serve replaces the replica."""
        if self._server.should_exit:
            raise RuntimeError(f"engine '{self.name}' has died")
        if self._llm is not None:
            await self._llm.check_health()

    def _build(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.routing import Mount, Route

        return Starlette(
            routes=[
                Route("/internal/legs/", self._latest),
                Route("/internal/legs/{leg_id}", self._leg),
                Mount("/", app=self._serve),
            ],
            lifespan=self._lifespan,
        )

    async def _leg(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        wait_s = _bounded(request.query_params.get("wait_s", "0"), MAX_WAIT_S)
        leg = await self._ledger.final(request.path_params["leg_id"], wait_s)
        if leg is None:
            return JSONResponse({}, status_code=404)
        return JSONResponse(asdict(leg) | {"final": leg.final})

    async def _latest(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        count = int(_bounded(request.query_params.get("count", "100"), MAX_LISTED))
        return JSONResponse({leg_id: asdict(leg) for leg_id, leg in self._ledger.latest(count).items()})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._vllm_app is not None, "requests come only after the lifespan has started"
        leg_id = next((v.decode("latin-1") for k, v in scope["headers"] if k == LEG_HEADER.encode()), "")
        if scope["type"] != "http" or scope["method"] != "POST":  # only generating is a leg
            await self._vllm_app(scope, receive, send)
            return
        self._ledger.http_opened(leg_id)
        delivery = Delivery(receive, send)
        work = asyncio.create_task(_called(self._vllm_app, scope, delivery.receive, delivery.send))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:  # nobody waits for the answer any more, whatever `receive` has told by now
            delivery.gone = True
            raise
        finally:
            try:
                if not work.done():
                    await _let_go(work)
            finally:
                self._ledger.http_closed(leg_id, aborted=not delivery.answered)
            if (leg := self._ledger.get(leg_id)) is not None and leg.engine_running:
                task = asyncio.create_task(self._reap(leg_id))
                self._reaping.add(task)
                task.add_done_callback(self._reaping.discard)

    async def _reap(self, leg_id: str) -> None:
        """Aborts what vLLM left behind of a leg that is over.

        It forgets a request whose caller goes while it is being handed to the engine: that one would stay in its
        tables for good.
        """
        for pause_s in REAP_PAUSES_S:
            await asyncio.sleep(pause_s)
            leg = self._ledger.get(leg_id)
            if leg is not None and leg.engine_running:
                # The names vLLM gives the two kinds of request; aborting one that is gone does nothing.
                await self._llm.abort([f"chatcmpl-{leg_id}", f"cmpl-{leg_id}-0"])

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self._vllm_app = await self._start(stack)
            yield

    async def _start(self, stack: AsyncExitStack) -> ASGIApp:
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.launchers.api_server.entry import build_async_engine_client
        from vllm.entrypoints.launchers.app import build_app

        args = _parse(engine_arguments(self.name, self._engine, self._loras))
        llm = await stack.enter_async_context(build_async_engine_client(args))
        tasks = await llm.get_supported_tasks()
        app = build_app(args, tasks, llm.model_config)
        await init_app_state(llm, app.state, args, tasks)
        app.state.server = self._server
        await stack.enter_async_context(app.router.lifespan_context(app))
        await _warm_up(app, (self.name, *self._loras), self._engine.start_timeout_s)
        llm.output_processor.request_states = ObservedRequests(self._ledger)  # warming up is no leg
        self._llm = llm
        vllm_app: ASGIApp = app
        return vllm_app


async def _warm_up(app: ASGIApp, models: Sequence[str], limit_s: float) -> None:
    """One token of every model at once, before the replica is ready: the first use of each took 2 to 5 s on a CPU.

    A model that refuses (a base without a chat template) is warm enough; an engine that breaks is not ready.
    """
    import httpx

    hello = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    inside = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=inside, base_url="http://engine", timeout=limit_s) as client:
        await asyncio.gather(*(client.post("/v1/chat/completions", json=hello | {"model": m}) for m in models))


def _bounded(text: str, most: float) -> float:
    try:
        return min(max(float(text), 0.0), most)
    except ValueError:
        return 0.0


async def _let_go(work: asyncio.Task[None]) -> None:
    """Ends vLLM's side of a request whose client is gone.

    Serve cancels us after `receive` has said `http.disconnect`. vLLM must see that message rather than the
    cancelling: its handler runs in a task of its own that cancelling would leave running to its end.
    """
    await asyncio.wait({work}, timeout=NOTICE_S)
    work.cancel()
    await asyncio.wait({work})


async def _called(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def _parse(argv: list[str]) -> Namespace:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    args: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args(argv)
    validate_parsed_serve_args(args)
    return args


def application(name: str, engine: Engine, loras: Mapping[str, str]) -> Application:
    """The Serve application of one engine.

    Args:
        name: the engine's name; also the served name of its base model.
        engine: the operator's record; paths in it are absolute.
        loras: expert name -> adapter folder or hub id.
    """
    from ray import serve

    fixed_adapters = dict(loras)

    def build() -> EngineApp:
        return EngineApp(name, engine, fixed_adapters)

    class EngineReplica:
        app: EngineApp

        async def check_health(self) -> None:
            await self.app.check_health()

    autoscaling = engine.autoscaling.model_dump() if engine.autoscaling else None
    deployment = serve.deployment(
        serve.ingress(build)(EngineReplica),
        name="engine",
        num_replicas=None if autoscaling else engine.replicas,
        autoscaling_config=autoscaling,
        max_ongoing_requests=engine.max_ongoing_requests,
        health_check_period_s=1.0,
        health_check_timeout_s=10.0,
        graceful_shutdown_timeout_s=5.0,
        ray_actor_options={
            "num_cpus": engine.cpus,
            "num_gpus": engine.gpus,
            "runtime_env": {"env_vars": _environment(engine)},
        },
    )
    return deployment.bind()


def _environment(engine: Engine) -> dict[str, str]:
    own = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if engine.accelerator == "cpu" else {}
    fixed = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "0"}
    inherited = {k: v for k, v in os.environ.items() if k.startswith(("HF_", "VLLM_"))}
    return inherited | own | fixed | engine.env
