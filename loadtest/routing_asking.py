"""Asks a running symposium: every model every question, over HTTP, with bounds on everything.

Owns: the requests, how many at once, when to give up. Must not know: what is made of the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loadtest.pool import pooled
from loadtest.routing_records import Question, Reply, heard

MAX_TOKENS = 64
REQUEST_LIMIT_S = 60.0
CONNECT_LIMIT_S = 10.0
FAILED_SHARE = 0.05  # more than these, and the figures would be about the failures
FAILED_FROM = 200  # requests; fewer are judged as if they were so many


class TooManyFailures(RuntimeError):
    """The system does not answer; the message says what it does instead."""


@dataclass(frozen=True, slots=True)
class Models:
    """What the system offers: experts that answer questions, and policies."""

    experts: tuple[str, ...]
    policies: tuple[str, ...]
    config: str

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that it does not offer."""
        return [n for n in names if n not in self.policies and n not in self.experts]


async def models(url: str, api_key: str) -> Models:
    """Raises RuntimeError where no symposium answers at `url`."""
    async with _session(api_key, 1) as session:
        try:
            listed = await _json(session, "GET", f"{url}/v1/models")
            version = await _json(session, "GET", f"{url}/version")
            about = {m["id"]: m["symposium"] for m in listed["data"]}
            return Models(
                experts=tuple(m for m, a in about.items() if _answers(a)),
                policies=tuple(m for m, a in about.items() if a["kind"] == "policy"),
                config=version["config"],
            )
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
            raise RuntimeError(f"{url}: no symposium answers there ({_reason(error)})") from error


def _answers(about: Mapping[str, Any]) -> bool:
    return bool(about["kind"] == "expert" and about.get("part", "answers") == "answers")


async def ask_all(
    url: str, names: Sequence[str], questions: Sequence[Question], api_key: str, connections: int, console: Console
) -> dict[str, list[Reply]]:
    """Model -> its replies in the order of the questions. A failed request is a reply too.

    Raises:
        TooManyFailures: as soon as more than `FAILED_SHARE` of the requests failed.
    """
    jobs = [(name, i) for name in names for i in range(len(questions))]
    bound = _Bound(len(jobs))
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    async with _session(api_key, connections) as session:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=len(jobs))

            async def work(job: tuple[str, int]) -> Reply:
                name, i = job
                reply = await _ask(session, url, name, questions[i])
                progress.update(task, advance=1, description=name)
                bound.bear(name, reply)
                return reply

            replies = iter(await pooled(jobs, connections, work))
    return {name: list(islice(replies, len(questions))) for name in names}


class _Bound:
    """How many failures are borne: a share of the requests made, once those are enough to judge by."""

    def __init__(self, requests: int) -> None:
        self._least, self._done = min(requests, FAILED_FROM), 0
        self._failures = Counter[str]()

    def bear(self, name: str, reply: Reply) -> None:
        self._done += 1
        if reply.failed is not None:
            self._failures[f"{name}: {reply.failed}"] += 1
        failed, requests = self._failures.total(), max(self._done, self._least)
        if failed > FAILED_SHARE * requests:
            most = "; ".join(f"{count} × {reason}" for reason, count in self._failures.most_common(5))
            raise TooManyFailures(f"stopped: {failed} requests failed, more than {FAILED_SHARE:.0%} ({most})")


async def _ask(session: aiohttp.ClientSession, url: str, name: str, question: Question) -> Reply:
    body = {
        "model": name,
        "messages": [{"role": "user", "content": question.text}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "symposium": {"explain": True},
    }
    try:
        completion = await _json(session, "POST", f"{url}/v1/chat/completions", body)
        return heard(completion, question.answer)
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        return Reply(failed=_reason(error))


async def _json(session: aiohttp.ClientSession, method: str, url: str, body: object = None) -> dict[str, Any]:
    async with session.request(method, url, json=body) as response:
        if response.status != 200:
            raise ValueError(f"HTTP {response.status}")
        found = await response.json()
    if not isinstance(found, dict):
        raise TypeError(type(found).__name__)
    return found


def _session(api_key: str, connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=REQUEST_LIMIT_S, connect=CONNECT_LIMIT_S),
        headers={"authorization": f"Bearer {api_key}"} if api_key else {},
    )


def _reason(error: Exception) -> str:
    return str(error) if str(error).startswith("HTTP ") else type(error).__name__
