"""The file in which `symposium profile` keeps every answer at once, so that a run that was cut off can go on.

Owns the JSON lines and who writes them; which lines still hold is decided elsewhere. A line counts once it has its end:
a torn last one is cut off. Raises ValueError with the remedy for what is no such file.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from router.calibration import Graded


class Journal:
    """An open journal: what was in it, and room for more. `open_journal` makes one."""

    def __init__(self, path: Path, file: IO[str], answers: tuple[Graded, ...]) -> None:
        self.path = path
        self._file = file
        self.answers = answers

    def add(self, answer: Graded) -> None:
        """Is in the file when this returns, whatever becomes of the process."""
        self._file.write(answer.model_dump_json() + "\n")
        self._file.flush()

    def close_for(self, experts: Set[str]) -> None:
        """Forgets these experts' answers, of whichever version; without any other the file goes.

        Texts stay for the other experts that are to read them, and go with the last of those.
        """
        rest = [answer for answer in _read(self.path) if answer.expert not in experts or answer.text is not None]
        if all(answer.text is not None for answer in rest):
            self.path.unlink()
            return
        shorter = self.path.with_name(f".{self.path.name}.new")
        shorter.write_text("".join(answer.model_dump_json() + "\n" for answer in rest), encoding="utf-8")
        shorter.replace(self.path)


def partial_path(profiles: Path, what: str = "") -> Path:
    """Where the journal of a profile file is; `what` else is measured for it has a journal of its own."""
    return profiles.with_name(".".join(filter(None, (profiles.name, what, "partial.jsonl"))))


@contextmanager
def open_journal(path: Path, restart: bool = False) -> Iterator[Journal]:
    """The journal at `path`, made when there is none; emptied first with `restart`.

    Raises:
        ValueError: it is something else, or another process writes to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{path}: another `symposium profile` is writing to it; wait for its end") from error
        if restart:
            file.truncate(0)
        whole = path.read_bytes().rpartition(b"\n")
        file.truncate(len(whole[0]) + len(whole[1]))
        try:
            yield Journal(path, file, _read(path))
        finally:
            if path.exists() and not path.stat().st_size:
                path.unlink()  # a run that got nowhere leaves nothing behind


def _read(path: Path) -> tuple[Graded, ...]:
    answers = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            answers.append(Graded.model_validate_json(line))
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise ValueError(
                f"{path}:{number}: not an answer that was kept ({reason}); --restart drops them"
            ) from error
    return tuple(answers)
