"""The outermost door: what passes, and that a refusal tells nothing."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from experts.guard import TOKEN_ENV, TOKEN_HEADER, Guard, internal_token

TOKEN = "t" * 32
HEADER = (TOKEN_HEADER.encode(), TOKEN.encode())
PATHS = ("/v1/models", "/internal/legs/")
NOT_FOUND: list[Message] = [
    {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]},
    {"type": "http.response.body", "body": b""},
]


class Behind:
    """The application behind the door: remembers what came through."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "passed"})


async def knock(
    path: str,
    *headers: tuple[bytes, bytes],
    root: str = "",
    kind: str = "http",
    paths: tuple[str, ...] | None = PATHS,
    open_paths: tuple[str, ...] = (),
) -> tuple[list[Message], list[Scope]]:
    """(what was sent back, what came through) for one request."""
    behind, sent = Behind(), list[Message]()

    async def receive() -> Message:
        raise AssertionError("the door reads nothing")

    async def send(message: Message) -> None:
        sent.append(message)

    guard = Guard(behind, TOKEN, paths, open_paths)
    await guard({"type": kind, "path": path, "root_path": root, "headers": list(headers)}, receive, send)
    return sent, behind.scopes


@pytest.mark.parametrize("path", ["/v1/models", "/internal/legs/", "/internal/legs/abc"])
async def test_the_token_opens_the_listed_paths(path: str) -> None:
    """An entry that ends in a slash also opens what is below it."""
    sent, through = await knock(path, HEADER)
    assert (sent, len(through)) == ([{"type": "passed"}], 1)


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/v1/models/", "/v1/models/x", "/v1/modelsx", "/V1/models", "//v1/models", "/internal/legs",
        "/internal/legsx", "/x/internal/legs/a", "/v1/models\x00", "/sleep", "/collective_rpc", "/metrics",
    ],
)  # fmt: skip
async def test_other_paths_are_not_there(path: str) -> None:
    """Even with the token: 404 without a body, and nothing comes through."""
    assert await knock(path, HEADER) == (NOT_FOUND, [])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x-symposium-internal", b"")],
        [(b"x-symposium-internal", b"t" * 31)],
        [(b"x-symposium-internal", b"t" * 33)],
        [(b"x-symposium-internal", b"\xff" * 32)],
        [(b"authorization", TOKEN.encode())],
        [(b"x_symposium_internal", TOKEN.encode())],
        [HEADER, HEADER],
        [HEADER, (b"X-Symposium-Internal", b"other")],
        [(b"x-symposium-internal", b"other"), HEADER],
    ],
)
async def test_without_the_token_nothing_is_there(headers: list[tuple[bytes, bytes]]) -> None:
    """Missing, wrong, or sent twice (which one would count?): the same 404."""
    assert await knock("/v1/models", *headers) == (NOT_FOUND, [])
    assert await knock("/v1/models", *headers, paths=None) == (NOT_FOUND, [])


async def test_a_headers_case_does_not_count() -> None:
    """Servers hand names on as they came."""
    _, through = await knock("/v1/models", (b"X-Symposium-Internal", TOKEN.encode()))
    assert len(through) == 1


async def test_without_a_list_the_token_opens_everything() -> None:
    """paths=None: only the token counts."""
    assert len((await knock("/anything", HEADER, paths=None))[1]) == 1


async def test_open_paths_need_no_token() -> None:
    """A load balancer's probe is answered; the path next to it is not."""
    assert len((await knock("/-/healthz", open_paths=("/-/healthz",)))[1]) == 1
    assert await knock("/-/healthz/x", open_paths=("/-/healthz",)) == (NOT_FOUND, [])


async def test_paths_are_those_below_the_mount_point() -> None:
    """Behind a route prefix the path starts after it; the bare path is not taken for one below."""
    assert len((await knock("/experts/e/v1/models", HEADER, root="/experts/e"))[1]) == 1
    assert await knock("/experts/e/sleep", HEADER, root="/experts/e") == (NOT_FOUND, [])
    assert await knock("/experts/e/v1/models", HEADER) == (NOT_FOUND, [])


async def test_steering_headers_do_not_come_through() -> None:
    """Nobody tells Ray Serve not to cancel, or when to time out; other headers stay."""
    steering = [(b"X-Request-Disconnect-Disabled", b"?1"), (b"x-request-timeout-seconds", b"1")]
    _, (scope,) = await knock("/v1/models", HEADER, *steering, (b"x-request-id", b"leg"))
    assert scope["headers"] == [HEADER, (b"x-request-id", b"leg")]
    _, (probe,) = await knock("/open", *steering, open_paths=("/open",))
    assert probe["headers"] == []


async def test_websockets_are_closed() -> None:
    """With the token too: nothing of ours speaks them."""
    sent, through = await knock("/v1/models", HEADER, kind="websocket")
    assert (sent, through) == ([{"type": "websocket.close", "code": 1008}], [])


async def test_the_lifespan_passes() -> None:
    """The application behind starts and stops."""
    sent, through = await knock("", kind="lifespan")
    assert (sent, len(through)) == ([{"type": "passed"}], 1)


@pytest.mark.parametrize("value", ["", "short", "t" * 31])
def test_an_engine_without_a_real_token_does_not_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Unset or short: it would be open."""
    monkeypatch.setenv(TOKEN_ENV, value)
    with pytest.raises(RuntimeError, match=TOKEN_ENV):
        internal_token()
    monkeypatch.delenv(TOKEN_ENV)
    with pytest.raises(RuntimeError, match=TOKEN_ENV):
        internal_token()


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there."""
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    assert internal_token() == TOKEN
