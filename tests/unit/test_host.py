"""The engine's host without an engine: vLLM's command line, whose tokens are whose, the replica's doors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import AsyncExitStack, nullcontext
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experts.accounting import LegLedger, ObservedRequests, leg_of
from experts.guard import TOKEN_ENV, TOKEN_HEADER
from experts.host import ALLOWED_PATHS, EngineApp, _environment, _warm_up, engine_arguments
from experts.spec import Engine

TOKEN = "t" * 32


def engine(**fields: Any) -> Engine:
    """A CPU engine."""
    return Engine(**({"model": "org/m", "accelerator": "cpu"} | fields))


def test_importing_the_host_imports_no_engine() -> None:
    """vLLM, Ray and torch take seconds and memory: they come when a replica starts, not before."""
    script = "import sys, experts.host; print(*{'vllm', 'ray', 'torch', 'starlette'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_bare_engine_is_named_after_itself() -> None:
    """Model and served name, nothing of our own beside."""
    assert engine_arguments("gpu0", engine(), {}) == ["--model", "org/m", "--served-model-name", "gpu0"]


def test_the_operators_arguments_go_to_vllm_unchanged() -> None:
    """In their order and by their type: flags, their negation, numbers, lists, objects; null is left out."""
    args: dict[str, Any] = {
        "dtype": "float32",
        "max-model-len": 512,
        "gpu-memory-utilization": 0.5,
        "enforce-eager": True,
        "enable-prefix-caching": False,
        "seed": None,
        "allowed-origins": ["a", 1],
        "override-generation-config": {"top_k": 1},
    }
    assert engine_arguments("e", engine(args=args), {})[4:] == [
        "--dtype", "float32", "--max-model-len", "512", "--gpu-memory-utilization", "0.5", "--enforce-eager",
        "--no-enable-prefix-caching", "--allowed-origins", "a", "1",
        "--override-generation-config", '{"top_k": 1}',
    ]  # fmt: skip


def test_adapters_are_model_names_of_the_engine() -> None:
    """LoRA is switched on with room for all of them; names and paths survive any characters."""
    argv = engine_arguments("e", engine(), {"poet": '/a "b"/c', "judge": "org/j"})
    assert argv[4:8] == ["--enable-lora", "--max-loras", "3", "--lora-modules"]
    assert [json.loads(a) for a in argv[8:]] == [
        {"name": "poet", "path": '/a "b"/c'},
        {"name": "judge", "path": "org/j"},
    ]


def test_the_operators_own_lora_settings_stand() -> None:
    """max-loras below the number of adapters makes them take turns: that is the operator's choice."""
    argv = engine_arguments("e", engine(args={"enable-lora": True, "max-loras": 1}), {"poet": "p", "judge": "j"})
    assert argv.count("--enable-lora") == argv.count("--max-loras") == 1
    assert argv[argv.index("--max-loras") + 1] == "1"


@pytest.mark.parametrize(
    ("external", "leg"),
    [
        ("chatcmpl-req_1-0", "req_1-0"),
        ("chatcmpl-req_1-0r", "req_1-0r"),
        ("cmpl-req_1-0-0", "req_1-0"),
        ("chatcmpl-", ""),
        ("chatcmpl-a-b-c", "a-b-c"),
    ],
)
def test_a_leg_is_read_off_vllms_request_id(external: str, leg: str) -> None:
    """The kind in front and, for completions, the prompt's number behind are vLLM's; the rest is ours."""
    assert leg_of(SimpleNamespace(external_req_id=external)) == leg


def state(leg: str, generated: int | None) -> Any:
    """What of vLLM's request state is read."""
    stats = None if generated is None else SimpleNamespace(num_generation_tokens=generated)
    return SimpleNamespace(external_req_id=f"chatcmpl-{leg}", prompt_len=10, stats=stats)


def test_requests_that_enter_and_leave_vllms_table_are_counted() -> None:
    """Each once, however it leaves; leaving twice, or unknown, counts nothing; without statistics it is 0."""
    ledger = LegLedger(lambda: 1.0)
    table = ObservedRequests(ledger)
    one, other = state("a", 7), state("b", None)
    table["0_a"] = one
    table["0_a"] = one
    table["0_b"] = other
    running = ledger.get("a")
    assert running is not None
    assert (running.engine_running, running.prompt_tokens) == (1, 10)
    assert table.pop("0_a") is one
    assert table.pop("0_a", None) is None
    with pytest.raises(KeyError):
        table.pop("never")
    assert table.pop("0_b") is other
    a, b = ledger.get("a"), ledger.get("b")
    assert a is not None
    assert b is not None
    assert (a.output_tokens, a.engine_running, b.output_tokens) == (7, 0, 0)


def test_an_engines_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's and the hub's variables are inherited, others are not; the operator's own have the last word."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("SECRET_KEY", "x")
    found = _environment(engine(env={"VLLM_LOGGING_LEVEL": "INFO", "MINE": "1"}))
    assert found.items() >= {"VLLM_LOGGING_LEVEL": "INFO", "HF_HOME": "/models", "MINE": "1"}.items()
    assert "SECRET_KEY" not in found
    assert found["VLLM_NO_USAGE_STATS"] == "1"


class Toy(EngineApp):
    """A replica whose vLLM is a few lines: one request makes 7 tokens, or waits until its client has gone."""

    async def _start(self, stack: AsyncExitStack) -> ASGIApp:
        table = ObservedRequests(self._ledger)

        async def generate(scope: Scope, receive: Receive, send: Send) -> None:
            leg = dict(scope["headers"])[b"x-request-id"].decode()
            table[leg] = state(leg, 7)
            if scope["query_string"] == b"endless":
                while (await receive())["type"] != "http.disconnect":
                    pass
            table.pop(leg)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})  # as vLLM does, also when nobody is there

        return generate


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A replica that has started."""
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    return Toy("e", engine(), {})


def client(replica: Toy, token: str | None = TOKEN) -> httpx.AsyncClient:
    """Speaks to the replica as the router does."""
    headers = {} if token is None else {TOKEN_HEADER: token}
    return httpx.AsyncClient(transport=httpx.ASGITransport(replica), base_url="http://e", headers=headers)


async def test_a_leg_can_be_asked_for_after_its_request(replica: Toy) -> None:
    """By the id that the request carried; an unknown one is 404; the list is newest first."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(replica._lifespan(None))  # type: ignore[arg-type]  # the argument is not used
        http = await stack.enter_async_context(client(replica))
        for leg in ("l-1", "l-2"):
            assert (await http.post("/v1/chat/completions", headers={"x-request-id": leg})).status_code == 200
        found = (await http.get("/internal/legs/l-1?wait_s=5")).json()
        assert (found["prompt_tokens"], found["output_tokens"], found["final"]) == (10, 7, True)
        assert (found["http_open"], found["aborted"]) == (False, False)
        assert (await http.get("/internal/legs/never")).status_code == 404
        assert list((await http.get("/internal/legs/?count=1")).json()) == ["l-2"]


class ProxyError(Exception):
    """Ray's own, in Serve."""


@pytest.mark.parametrize("cancelled", [True, False], ids=["and cancels", "and cancels too late"])
@pytest.mark.parametrize("error", [None, ProxyError("cancelled")], ids=["says so", "breaks"])
async def test_a_leg_whose_client_has_gone_is_aborted_and_counted(
    replica: Toy, cancelled: bool, error: Exception | None
) -> None:
    """Serve says `http.disconnect`, or `receive` breaks; and it cancels, a moment later: the leg's tokens are kept."""
    waiting, gone = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        waiting.set()
        await gone.wait()
        if error is not None:
            raise error
        return {"type": "http.disconnect"}

    async with replica._lifespan(None):  # type: ignore[arg-type]
        request = asyncio.create_task(replica(_question(b"endless"), receive, _unheard))
        await waiting.wait()
        gone.set()
        if cancelled:
            request.cancel()
        with pytest.raises(asyncio.CancelledError) if cancelled else nullcontext():
            await request
    leg = replica._ledger.get("l")
    assert leg is not None
    assert (leg.aborted, leg.final, leg.output_tokens) == (True, True, 7)


async def test_a_leg_that_is_cancelled_before_its_last_byte_is_aborted(replica: Toy) -> None:
    """Although vLLM, which nobody has told, sends it."""

    async def receive() -> Message:
        raise AssertionError("it listens to nobody")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            request.cancel()
            await asyncio.sleep(0)

    async with replica._lifespan(None):  # type: ignore[arg-type]
        request = asyncio.create_task(replica(_question(b""), receive, send))
        with pytest.raises(asyncio.CancelledError):
            await request
    leg = replica._ledger.get("l")
    assert leg is not None
    assert (leg.aborted, leg.final, leg.output_tokens) == (True, True, 7)


def _question(query: bytes) -> dict[str, Any]:
    """The scope of a leg."""
    headers = [(b"x-request-id", b"l"), (TOKEN_HEADER.encode(), TOKEN.encode())]
    return {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "root_path": "",
        "query_string": query, "headers": headers,
    }  # fmt: skip


async def _unheard(message: Message) -> None:
    """Serve takes what is sent to nobody."""


async def test_only_what_a_router_needs_is_there(replica: Toy) -> None:
    """vLLM's other routes are not reachable, with the token or without; nothing is without it."""
    others = ("/sleep", "/invocations", "/tokenize", "/collective_rpc", "/docs", "/openapi.json", "/v1/models/x")
    async with replica._lifespan(None), client(replica) as http, client(replica, None) as stranger:  # type: ignore[arg-type]
        assert {(await http.post(path)).status_code for path in others} == {404}
        assert {(await stranger.get(path)).status_code for path in (*others, *ALLOWED_PATHS)} == {404}


async def test_a_dead_engine_fails_the_health_check(replica: Toy) -> None:
    """vLLM's engine-dead handler asks the server to exit: Serve must replace the replica."""
    await replica.check_health()
    replica._server.should_exit = True
    with pytest.raises(RuntimeError, match="'e' has died"):
        await replica.check_health()


@pytest.mark.anyio
async def test_every_model_is_warmed_up_with_one_token() -> None:
    """The base and each adapter once, through the application itself; one that refuses does not stop the start."""
    asked = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.loads((await receive())["body"])
        asked.append((scope["path"], body["model"], body["max_tokens"]))
        status = 400 if body["model"] == "base" else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    await _warm_up(app, ("base", "math", "text"), 5.0)
    assert sorted(asked) == [("/v1/chat/completions", model, 1) for model in ("base", "math", "text")]
