"""The errors of calling one expert, drawn as one tree.

    ExpertError
    ├── ExpertUnreachable   no connection, or it broke; nothing of the answer was lost on our side
    ├── ExpertTimeout       a limit of the leg passed (which one is in `phase`)
    ├── ExpertRefused       the expert answered with an HTTP error of its own
    ├── ExpertBroken        bytes came that are no OpenAI answer, or far too many of them
    ├── ExpertUnfunded      never sent: there is no money for this call
    └── ExpertOutOfTime     never sent, or nothing of it had come: the request's own deadline

Foreign exceptions (the HTTP library's) are translated into these at the border, in `experts.client`.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class ExpertError(Exception):
    """Calling an expert failed. `replaceable` says whether another expert may be asked instead."""

    reason: ClassVar[str] = "error"

    def __init__(self, expert: str, detail: str) -> None:
        super().__init__(f"expert '{expert}': {detail}")
        self.expert = expert
        self.detail = detail

    @property
    def replaceable(self) -> bool:
        return True


class ExpertUnreachable(ExpertError):
    reason = "unreachable"


class ExpertTimeout(ExpertError):
    reason = "timeout"

    def __init__(self, expert: str, phase: str, limit_s: float) -> None:
        super().__init__(expert, f"no {phase} within {limit_s:g} s")
        self.phase = phase
        self.limit_s = limit_s


class ExpertRefused(ExpertError):
    """HTTP status >= 400. A 400/413/422 is the request's own fault: no other expert is asked."""

    reason = "refused"

    def __init__(self, expert: str, status: int, message: str, param: str | None = None) -> None:
        super().__init__(expert, f"HTTP {status}: {message}")
        self.status = status
        self.message = message
        self.param = param

    @property
    def replaceable(self) -> bool:
        return self.status not in (400, 413, 422)


class ExpertBroken(ExpertError):
    reason = "broken"


class ExpertUnfunded(ExpertError):
    """Not the expert's fault, and another one would not be funded either."""

    reason = "unfunded"

    @property
    def replaceable(self) -> bool:
        return False


class ExpertOutOfTime(ExpertError):
    """Not the expert's fault as far as anybody knows; there is no time to ask another one."""

    reason = "deadline"

    @property
    def replaceable(self) -> bool:
        return False


class ExpertBusy(ExpertError):
    """It was not asked: as many calls of it are under way as are good, and there was no turn for one more in time.

    `why`: "full", its queue takes no more; "hopeless", the turn would come too late for the deadline. `wait_s`: how
    long the turn was expected to take. Says nothing against the expert.
    """

    reason = "busy"

    def __init__(self, expert: str, why: Literal["full", "hopeless"], wait_s: float) -> None:
        super().__init__(expert, "no turn in time" if why == "hopeless" else "too many calls wait for it")
        self.why: Literal["full", "hopeless"] = why
        self.wait_s = wait_s
