"""Offline: measures experts on calibration questions through the served system. The shell that asks; what is asked
and how it counts is decided in `router/calibration.py`.

One bounded pool of requests over all experts, question by question: engines batch what arrives together, and all work
from the first request on. Every answer is in the journal before it is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from router.calibration import UNKNOWN, Calibration, Graded, is_right, profile_of, usable
from router.journal import Journal
from router.profiles import Profile
from router.questions import LabelledQuestion

TIMEOUT_S = 300.0
RETRY_PAUSES_S = (0.5, 2.0, 8.0)  # behind each failed try but the last
TRANSIENT = frozenset({408, 429})  # and all from 500


@dataclass(frozen=True, slots=True)
class Tally:
    """How far one expert is. `taken_over` of the `asked` were answered in an earlier run."""

    asked: int
    right: int
    total: int
    taken_over: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Profiles of the experts that answered everything; the others with the reason."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class ExpertFailed(Exception):
    """This expert cannot be measured now; the message says why."""


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


async def measure(
    symposium: httpx.AsyncClient,
    calibration: Calibration,
    experts: Sequence[str],
    journal: Journal,
    show: Callable[[str, Tally], object],
    *,
    concurrency: int,
    retry_pauses_s: Sequence[float] = RETRY_PAUSES_S,
) -> Measured:
    """Asks each expert every question that the journal does not hold yet.

    Cancelling loses nothing that was answered.

    Args:
        show: called for each expert at the start, and after each of its answers.

    Raises:
        As `served_versions`; OSError when an answer cannot be kept. What an expert does wrong is in the result.
    """
    versions = await served_versions(symposium, experts)
    run = _Run(symposium, calibration, versions, journal, show, retry_pauses_s)
    jobs = run.missing()  # one iterator for all: whoever is free takes the next
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(concurrency):
                workers.create_task(run.work(jobs))
    except ExceptionGroup as group:  # a TaskGroup's wrapping: the caller is told the error itself
        raise group.exceptions[0] from group
    profiles = {name: profile_of(calibration, run.answers[name]) for name in experts if name not in run.failed}
    return Measured(profiles, run.failed)


class _Run:
    """What is known so far. Only the event loop's thread changes it."""

    def __init__(
        self,
        symposium: httpx.AsyncClient,
        calibration: Calibration,
        versions: Mapping[str, str],
        journal: Journal,
        show: Callable[[str, Tally], object],
        retry_pauses_s: Sequence[float],
    ) -> None:
        self._symposium, self._calibration, self._versions = symposium, calibration, versions
        self._journal, self._show, self._retry_pauses_s = journal, show, retry_pauses_s
        self.answers = usable(journal.answers, calibration, versions)
        self.failed: dict[str, str] = {}
        self._taken_over = {expert: len(known) for expert, known in self.answers.items()}
        self._right = {expert: sum(a.right for a in known.values()) for expert, known in self.answers.items()}
        for expert in versions:
            self._report(expert)

    def missing(self) -> Iterator[tuple[str, str]]:
        """(expert, key), all experts' first questions first; nothing more of an expert that has failed."""
        for key in self._calibration.by_key:
            for expert in self._versions:
                if expert not in self.failed and key not in self.answers[expert]:
                    yield expert, key

    async def work(self, jobs: Iterator[tuple[str, str]]) -> None:
        for expert, key in jobs:
            try:
                graded = self._graded(expert, key, await self._ask(expert, self._calibration.by_key[key]))
            except ExpertFailed as error:
                self.failed.setdefault(expert, str(error))
                continue
            self._journal.add(graded)
            self.answers[expert][key] = graded
            self._right[expert] += graded.right
            self._report(expert)

    def _graded(self, expert: str, key: str, response: httpx.Response) -> Graded:
        try:
            answer = response.json()
            return Graded(
                expert=expert,
                expert_version=self._versions[expert],
                engine_version=answer.get("system_fingerprint") or UNKNOWN,
                question=key,
                right=is_right(self._calibration.by_key[key], answer["choices"][0]["message"].get("content") or ""),
                output_tokens=answer["usage"]["completion_tokens"],
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ExpertFailed(f"sent no chat completion: {response.text[:200]}") from error

    async def _ask(self, expert: str, question: LabelledQuestion) -> httpx.Response:
        """Raises ExpertFailed at a refusal, or when the last try has failed."""
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
                    raise ExpertFailed(f"refused {question.question[:60]!r}: {why}")
            if pause_s is None or expert in self.failed:
                break
            await asyncio.sleep(pause_s)
        raise ExpertFailed(f"gave up after {len(self._retry_pauses_s) + 1} tries: {why}")

    def _report(self, expert: str) -> None:
        asked = len(self.answers[expert])
        self._show(expert, Tally(asked, self._right[expert], len(self._calibration.by_key), self._taken_over[expert]))


def _message(response: httpx.Response) -> str:
    """What an error response says, in OpenAI's shape or not."""
    try:
        said = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = response.text[:200]
    return f"HTTP {response.status_code}: {said}"
