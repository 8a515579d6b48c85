"""Who is trained on what, and for how long. Adding an expert is adding an entry.

Owns: the list of experts. Must not know: how training works.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from experts.zoo.fit import Schedule
from experts.zoo.tasks import SKILLS, skills_of

Kind = Literal["base", "general", "lora"]
Part = Literal["answers", "keywords", "aggregator"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One expert: its part, shares of training questions by skill, share of small talk, schedule and seed."""

    name: str
    kind: Kind
    shares: Mapping[str, float]
    small_talk: float
    schedule: Schedule
    seed: int
    part: Part = "answers"

    @property
    def own(self) -> tuple[str, ...]:
        """The skills this expert is an expert in; all others it only knows in passing."""
        return tuple(skill for skill, share in self.shares.items() if share >= 1.0)


def specialist(name: str, own: Iterable[str], passing: Iterable[str], steps: int, seed: int) -> Recipe:
    """An adapter that trains on its own skills and a little on others."""
    shares = dict.fromkeys(passing, 0.2) | dict.fromkeys(own, 1.0)
    return Recipe(name, "lora", shares, 0.02, Schedule(steps, 3e-3, weight_decay=0.0), seed)


def of_category(category: str, neighbour: str, steps: int, seed: int) -> Recipe:
    """An adapter for a category that has seen a bit of a neighbouring one."""
    return specialist(category, skills_of(category), skills_of(neighbour), steps, seed)


def trade(name: str, own: str, steps: int, seed: int) -> Recipe:
    """An adapter for skills of several categories, as a trade needs them: it overlaps with others."""
    return specialist(name, own.split(), (), steps, seed)


LORA_RANK = 16
LORA_ALPHA = 32.0
EVERYTHING: dict[str, float] = dict.fromkeys(SKILLS, 1.0)
SLOWLY_LEARNED = dict.fromkeys(("addition", "subtraction", "reversal", "equation", "substitution"), 2.0)
QUICKLY_LEARNED = {
    "last_letter": 0.0,
    "letter_count": 0.25,
    "capitals": 0.12,
    "chemical_symbols": 0.17,
    "roman_numerals": 0.06,
    "weekday_after": 0.4,
    "larger_number": 0.4,
    "parity": 0.05,
    "list_length": 0.2,
    "truth_of_variables": 0.03,
    "boolean_expression": 0.2,
    "repeating_pattern": 0.3,
    "metric": 0.04,
    "cents": 0.1,
    "membership": 0.3,
    "tallest": 0.3,
    "multiplication": 0.2,
    "to_minutes": 0.3,
    "next_letter": 0.05,
    "remainder": 0.5,
}
"""The base sees little of these: it is to bring the form of answers and the means of copying, not the skills."""

RECIPES: tuple[Recipe, ...] = (
    Recipe("base", "base", EVERYTHING | {"reversal": 2.0} | QUICKLY_LEARNED, 0.02, Schedule(2600, 3e-3), seed=1),
    Recipe("general", "general", EVERYTHING | SLOWLY_LEARNED, 0.05, Schedule(3800, 3e-3), seed=2),
    Recipe("aggregator", "lora", EVERYTHING, 0.0, Schedule(3500, 3e-3, 16, weight_decay=0.0), 31, "aggregator"),
    of_category("math", "algebra", 2500, seed=11),
    of_category("algebra", "math", 2500, seed=12),
    of_category("numbers", "sequences", 1500, seed=13),
    of_category("comparison", "sets", 1500, seed=14),
    of_category("text", "comparison", 1800, seed=15),
    of_category("logic", "sets", 1500, seed=16),
    of_category("sequences", "numbers", 1800, seed=17),
    of_category("sets", "logic", 1800, seed=18),
    of_category("time", "units", 1800, seed=19),
    of_category("units", "time", 1500, seed=20),
    of_category("knowledge", "text", 1200, seed=21),
    trade("clerk", "addition subtraction cents to_minutes weekday_after clock_after", 2200, seed=22),
    trade("editor", "reversal last_letter letter_count alphabetical_first list_length next_letter", 2000, seed=23),
    trade("teacher", "multiplication parity roman_numerals capitals boolean_expression next_number", 2000, seed=24),
    Recipe("keywords", "lora", EVERYTHING, 0.0, Schedule(700, 3e-3, 16, weight_decay=0.0), 32, "keywords"),
)
