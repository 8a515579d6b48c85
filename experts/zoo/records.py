"""The zoo's frozen records: a skill, one payload drawn for it, one question made of both.

Owns: the shapes that skills, task generation and evaluation share. Must not know: models, tokens, training.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

RESERVED_SHARE = 8
"""One payload in this many is reserved for held-out questions (skills that generalise)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question and its only accepted answer; `template` counts training wordings, then held-out ones."""

    text: str
    answer: str
    category: str
    skill: str
    template: int
    held_out: bool


@dataclass(frozen=True, slots=True)
class Payload:
    """What fills the slots of a wording, and the answer that follows from it."""

    slots: Mapping[str, str]
    answer: str

    @property
    def reserved(self) -> bool:
        """True for the payloads that never appear in training (the order of the slots does not matter)."""
        key = "/".join(sorted(self.slots.values()))
        return zlib.crc32(key.encode()) % RESERVED_SHARE == 0


@dataclass(frozen=True, slots=True)
class Skill:
    """A named skill: how it is asked (`wordings`, str.format slots) and how a payload is drawn.

    `held_out_wordings` are kept out of all training. `lexicon` names payload words that deserve a token of
    their own. `memorised` marks small closed tables, learned by heart: their payloads are not split.
    """

    name: str
    category: str
    description: str
    wordings: tuple[str, ...]
    held_out_wordings: tuple[str, ...]
    draw: Callable[[Random], Payload]
    lexicon: tuple[str, ...] = ()
    memorised: bool = False
