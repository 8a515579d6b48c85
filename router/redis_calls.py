"""Scripts run in a Redis: those that are asked for in one turn of the event loop go out as one pipeline.

Async shell over redis' connections, without its client: sent once and never repeated, as what was sent may have been
done. Everything that goes wrong becomes LedgerUnavailable. Must not know what scripts do.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from router.ledger import LedgerUnavailable

CONNECTIONS = 8  # of one replica; pipelines that find all of them busy wait for one
MOST_WAITING = 4096  # calls; then callers are refused: the server has not kept up for a second
TOGETHER = 256  # in one pipeline
Argument = str | bytes | int | float
Command = tuple[Argument, ...]


class Script:
    """One Lua script. `KEYS[1]` is what the names of all its keys begin with."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True, eq=False)
class _Call:
    script: Script
    command: Command
    future: asyncio.Future[Any]


class RedisCalls:
    """For one event loop. `timeout_s`: after so long the server counts as not reached."""

    def __init__(self, url: str, prefix: str, timeout_s: float) -> None:
        self._prefix, self._timeout_s = prefix, timeout_s
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=None,  # one limit over all of it is set here
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
        )
        self._turn: list[_Call] = []
        self._waiting = 0
        self._pipelines: set[asyncio.Task[None]] = set()
        self._closed = False

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """What the script returns. A caller that is cancelled does not take back what it asked for."""
        if self._closed:
            raise LedgerUnavailable("redis: closed")
        if self._waiting >= MOST_WAITING:
            raise LedgerUnavailable(f"redis: {MOST_WAITING} are waiting already")
        loop = asyncio.get_running_loop()
        call = _Call(script, ("EVALSHA", script.sha, 1, self._prefix, *arguments), loop.create_future())
        if not self._turn:
            loop.call_soon(self._end_turn)
        self._turn.append(call)
        self._waiting += 1
        return await call.future

    async def close(self) -> None:
        """What was asked for before is done first."""
        self._closed = True
        self._end_turn()
        await asyncio.gather(*self._pipelines)
        await self._pool.disconnect()

    def _end_turn(self) -> None:
        calls, self._turn = self._turn, []
        for start in range(0, len(calls), TOGETHER):
            pipeline = asyncio.create_task(self._pipeline(calls[start : start + TOGETHER]))
            self._pipelines.add(pipeline)
            pipeline.add_done_callback(self._pipelines.discard)

    async def _pipeline(self, calls: Sequence[_Call]) -> None:
        replies: Sequence[Any]
        try:
            async with asyncio.timeout(self._timeout_s):
                replies = await self._replies(calls)
        except Exception as error:  # noqa: BLE001  # RedisError, OSError, TimeoutError; none may leave callers waiting
            why = str(error) or f"no answer within {self._timeout_s:g} s"
            replies = [LedgerUnavailable(f"redis: {why}")] * len(calls)
        self._waiting -= len(calls)
        for call, reply in zip(calls, replies, strict=True):
            if call.future.done():  # cancelled
                continue
            if isinstance(reply, ResponseError):
                call.future.set_exception(LedgerUnavailable(f"redis: {reply}"))
            elif isinstance(reply, Exception):
                call.future.set_exception(reply)
            else:
                call.future.set_result(reply)

    async def _replies(self, calls: Sequence[_Call]) -> list[Any]:
        """In their order, errors of single calls among them. Raises RedisError, OSError."""
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            replies = await _sent(connection, [call.command for call in calls])
            unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:  # a server that has begun anew
                scripts = {calls[number].script for number in unknown}
                loads: list[Command] = [("SCRIPT LOAD", script.text) for script in scripts]
                again = await _sent(connection, loads + [calls[number].command for number in unknown])
                for number, reply in zip(unknown, again[len(loads) :], strict=True):
                    replies[number] = reply
            if any(isinstance(reply, ReadOnlyError) for reply in replies):
                await connection.disconnect()  # the name may lead to another server by now, to which one can write
            return replies
        except BaseException:
            await connection.disconnect(nowait=True)  # answers may yet come, which are not for the next one
            raise
        finally:
            await self._pool.release(connection)


async def _sent(connection: Connection, commands: Sequence[Command]) -> list[Any]:
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [await _reply(connection) for _ in commands]


async def _reply(connection: Connection) -> Any:
    try:
        return await connection.read_response(disconnect_on_error=False)
    except ResponseError as error:
        return error
