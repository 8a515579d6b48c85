"""Offline: asks a served symposium's experts by their names, again when that can help, and grades what they say.

The shell that `symposium profile` asks through, whatever it measures. Owns what is sent and what is tried again; must
not know whom to ask what, or what becomes of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

import httpx

from router.calibration import UNKNOWN, Calibration, Graded, core
from router.questions import LabelledQuestion

TIMEOUT_S = 300.0
RETRY_PAUSES_S = (0.5, 2.0, 8.0)  # behind each failed try but the last
TRANSIENT = frozenset({408, 429})  # and all from 500
TOO_LONG = "context_length_exceeded"  # OpenAI's code


@dataclass(frozen=True, slots=True)
class Tally:
    """How far one expert is. `taken_over` of the `asked` were answered in an earlier run."""

    asked: int
    right: int
    total: int
    taken_over: int


class ExpertFailed(Exception):
    """This expert cannot be measured now; the message says why."""


class TooLong(ExpertFailed):
    """This question, with the room for its answer, is longer than the expert's context."""


def connect(url: str, api_key: str, concurrency: int) -> httpx.AsyncClient:
    """A client of a served symposium."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"authorization": f"Bearer {api_key}"} if api_key else {},
        timeout=TIMEOUT_S,
        limits=httpx.Limits(max_connections=concurrency),
    )


async def served_versions(symposium: httpx.AsyncClient, experts: Sequence[str]) -> dict[str, str]:
    """Expert -> version, as the served system names what answers there.

    Raises:
        httpx.HTTPError: nobody answers.
        ValueError: it refuses, is no symposium, or serves another configuration.
    """
    response = await symposium.get("/v1/models")
    if response.status_code != 200:
        raise ValueError(f"{symposium.base_url}: {_message(response)}")
    try:
        found = {model["id"]: model["symposium"].get("version") for model in response.json()["data"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{symposium.base_url}: its /v1/models is not a symposium's") from error
    if missing := [expert for expert in experts if not isinstance(found.get(expert), str)]:
        raise ValueError(
            f"{symposium.base_url}: does not serve {', '.join(missing)}; serve the configuration that is to be measured"
        )
    return {expert: found[expert] for expert in experts}


async def at_once(workers: int, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Runs so many workers to their end. The first error of one ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as errors:  # a TaskGroup's wrapping: the caller is told the error itself
        raise errors.exceptions[0] from errors


class Asker:
    """Asks questions of one calibration. Only the event loop's thread changes it.

    Attributes:
        failed: expert -> why it is asked no more; the first reason counts.
    """

    def __init__(
        self,
        symposium: httpx.AsyncClient,
        calibration: Calibration,
        versions: Mapping[str, str],
        retry_pauses_s: Sequence[float] = RETRY_PAUSES_S,
    ) -> None:
        self._symposium, self._calibration, self._versions = symposium, calibration, versions
        self._retry_pauses_s = retry_pauses_s
        self.failed: dict[str, str] = {}

    async def answer(self, expert: str, key: str) -> Graded:
        """Raises ExpertFailed at a refusal, at what is no answer, or when the last try has failed."""
        response = await self._ask(expert, self._calibration.by_key[key])
        try:
            answer = response.json()
            text = answer["choices"][0]["message"].get("content") or ""
            engine, tokens = answer.get("system_fingerprint") or UNKNOWN, answer["usage"]["completion_tokens"]
            return self._graded(expert, key, text, engine, tokens)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ExpertFailed(f"sent no chat completion: {response.text[:200]}") from error

    def silence(self, expert: str, key: str) -> Graded:
        """What counts for an expert that could not be asked this: a wrong answer, by no engine."""
        return self._graded(expert, key, "", "", 0)

    def _graded(self, expert: str, key: str, text: str, engine_version: str, output_tokens: int) -> Graded:
        said = core(text)
        return Graded(
            expert=expert,
            expert_version=self._versions[expert],
            engine_version=engine_version,
            question=key,
            right=said == self._calibration.cores[key],
            output_tokens=output_tokens,
            text=text,
            said=said,
        )

    async def _ask(self, expert: str, question: LabelledQuestion) -> httpx.Response:
        body = {
            "model": expert,
            "messages": [{"role": "user", "content": question.question}],
            "max_tokens": self._calibration.max_tokens,
            "temperature": 0,
        }
        why = ""
        for pause_s in (*self._retry_pauses_s, None):
            try:
                response = await self._symposium.post("/v1/chat/completions", json=body)
            except httpx.TransportError as error:
                why = f"{type(error).__name__} {error}".strip()
            else:
                if response.status_code == 200:
                    return response
                why = _message(response)
                if response.status_code < 500 and response.status_code not in TRANSIENT:
                    refused = TooLong if _said(response, "code") == TOO_LONG else ExpertFailed
                    raise refused(f"refused {question.question[:60]!r}: {why}")
            if pause_s is None or expert in self.failed:
                break
            await asyncio.sleep(pause_s)
        raise ExpertFailed(f"gave up after {len(self._retry_pauses_s) + 1} tries: {why}")


def _message(response: httpx.Response) -> str:
    """What an error response says, in OpenAI's shape or not."""
    said = _said(response, "message")
    return f"HTTP {response.status_code}: {response.text[:200] if said is None else said}"


def _said(response: httpx.Response, field: str) -> object:
    """A field of OpenAI's error object; None where there is none."""
    try:
        return response.json()["error"][field]
    except (ValueError, KeyError, TypeError):
        return None
