"""Offline: collects experts' real responses to calibration questions, for measuring who aggregates best. The shell
that asks; whom first, and when it is enough, is decided in `router/panels.py`.

Questions go side by side, the experts of one question one after another: most need few of them. Every response is in
the journal, with its text, before the next is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from router.asking import RETRY_PAUSES_S, Asker, ExpertFailed, Tally, TooLong, at_once, served_versions
from router.calibration import Calibration, Graded, usable
from router.journal import Journal
from router.panels import Triple, responders, triple


@dataclass(frozen=True, slots=True)
class Collected:
    """Key -> one right and two wrong responses, where they could be had; experts that failed meanwhile, and why."""

    triples: dict[str, Triple] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


async def collect(
    symposium: httpx.AsyncClient,
    calibration: Calibration,
    experts: Sequence[str],
    journal: Journal,
    show: Callable[[Tally], object],
    *,
    concurrency: int,
    retry_pauses_s: Sequence[float] = RETRY_PAUSES_S,
) -> Collected:
    """Asks experts until each question has a triple, or nobody is left to be asked.

    An expert that fails is asked no more, and the others answer in its place. Cancelling loses no response.

    Args:
        show: called at the start, and after each question: how many are done, and how many of those have a triple.

    Raises:
        As `served_versions`; OSError when a response cannot be kept.
    """
    versions = await served_versions(symposium, experts)
    asker = Asker(symposium, calibration, versions, retry_pauses_s)
    run = _Run(asker, calibration, versions, journal, show)
    jobs = iter(calibration.by_key)  # one iterator for all: whoever is free takes the next
    await at_once(concurrency, lambda: run.work(jobs))
    return Collected(run.triples, asker.failed)


class _Run:
    """What is known so far. Only the event loop's thread changes it."""

    def __init__(
        self,
        asker: Asker,
        calibration: Calibration,
        versions: Mapping[str, str],
        journal: Journal,
        show: Callable[[Tally], object],
    ) -> None:
        self._asker, self._calibration, self._journal, self._show = asker, calibration, journal, show
        kept = [answer for answer in journal.answers if answer.text is not None]
        self._responses = usable(kept, calibration, versions)
        self._done = 0
        self.triples: dict[str, Triple] = {}
        self._report()

    async def work(self, keys: Iterator[str]) -> None:
        for key in keys:
            if (found := await self._triple(key)) is not None:
                self.triples[key] = found
            self._done += 1
            self._report()

    async def _triple(self, key: str) -> Triple | None:
        responses: list[Graded] = []
        for expert in responders(self._calibration.by_key[key].question, self._responses):
            response = self._responses[expert].get(key) or await self._ask(expert, key)
            if response is not None:
                responses.append(response)
            if (found := triple(responses)) is not None:
                return found
        return None

    async def _ask(self, expert: str, key: str) -> Graded | None:
        """None when this expert has no response to this."""
        if expert in self._asker.failed:
            return None
        try:
            response = await self._asker.answer(expert, key)
        except TooLong:
            return None
        except ExpertFailed as error:
            self._asker.failed.setdefault(expert, str(error))
            return None
        self._journal.add(response)
        return response

    def _report(self) -> None:
        self._show(Tally(self._done, len(self.triples), len(self._calibration.by_key), 0))
