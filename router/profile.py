"""Offline: measures experts on calibration questions through the served system. The shell that asks; what is asked
and how it counts is decided in `router/calibration.py`.

One bounded pool of requests over all experts, question by question: engines batch what arrives together, and all work
from the first request on. Every answer is in the journal before it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from router.asking import RETRY_PAUSES_S, Asker, ExpertFailed, Tally, TooLong, at_once, served_versions
from router.calibration import Calibration, Graded, profile_of, usable
from router.journal import Journal
from router.profiles import Profile


@dataclass(frozen=True, slots=True)
class Measured:
    """Profiles and answers (by question) of the experts that answered everything; the others with the reason."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    answers: dict[str, dict[str, Graded]] = field(default_factory=dict)


async def measure(
    symposium: httpx.AsyncClient,
    calibration: Calibration,
    experts: Sequence[str],
    journal: Journal,
    show: Callable[[str, Tally], object],
    *,
    concurrency: int,
    retry_pauses_s: Sequence[float] = RETRY_PAUSES_S,
    too_long_is_wrong: bool = False,
) -> Measured:
    """Asks each expert every question that the journal does not hold yet.

    Cancelling loses nothing that was answered.

    Args:
        show: called for each expert at the start, and after each of its answers.
        too_long_is_wrong: a question that does not fit an expert's context counts as answered wrong, and does not end
            its measurement.

    Raises:
        As `served_versions`; OSError when an answer cannot be kept. What an expert does wrong is in the result.
    """
    versions = await served_versions(symposium, experts)
    asker = Asker(symposium, calibration, versions, retry_pauses_s)
    run = _Run(asker, calibration, versions, journal, show, too_long_is_wrong)
    jobs = run.missing()  # one iterator for all: whoever is free takes the next
    await at_once(concurrency, lambda: run.work(jobs))
    answers = {name: run.answers[name] for name in experts if name not in asker.failed}
    profiles = {name: profile_of(calibration, given) for name, given in answers.items()}
    return Measured(profiles, asker.failed, answers)


class _Run:
    """What is known so far. Only the event loop's thread changes it."""

    def __init__(
        self,
        asker: Asker,
        calibration: Calibration,
        versions: Mapping[str, str],
        journal: Journal,
        show: Callable[[str, Tally], object],
        too_long_is_wrong: bool,
    ) -> None:
        self._asker, self._calibration, self._versions = asker, calibration, versions
        self._journal, self._show, self._too_long_is_wrong = journal, show, too_long_is_wrong
        self.answers = usable(journal.answers, calibration, versions)
        self._taken_over = {expert: len(known) for expert, known in self.answers.items()}
        self._right = {expert: sum(a.right for a in known.values()) for expert, known in self.answers.items()}
        for expert in versions:
            self._report(expert)

    def missing(self) -> Iterator[tuple[str, str]]:
        """(expert, key), all experts' first questions first; nothing more of an expert that has failed."""
        for key in self._calibration.by_key:
            for expert in self._versions:
                if expert not in self._asker.failed and key not in self.answers[expert]:
                    yield expert, key

    async def work(self, jobs: Iterator[tuple[str, str]]) -> None:
        for expert, key in jobs:
            try:
                graded = await self._answer(expert, key)
            except ExpertFailed as error:
                self._asker.failed.setdefault(expert, str(error))
                continue
            self._journal.add(graded.model_copy(update={"text": None}))  # nobody reads it again
            self.answers[expert][key] = graded
            self._right[expert] += graded.right
            self._report(expert)

    async def _answer(self, expert: str, key: str) -> Graded:
        try:
            return await self._asker.answer(expert, key)
        except TooLong:
            if not self._too_long_is_wrong:
                raise
            return self._asker.silence(expert, key)

    def _report(self, expert: str) -> None:
        asked = len(self.answers[expert])
        self._show(expert, Tally(asked, self._right[expert], len(self._calibration.by_key), self._taken_over[expert]))
