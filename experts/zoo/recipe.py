"""Who is trained on what, and for how long. Adding an expert is adding an entry.

Owns: the list of experts. Must not know: how training works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from experts.zoo.fit import Schedule
from experts.zoo.tasks import SKILLS, skills_of

Kind = Literal["base", "general", "lora"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One expert: shares of training questions by skill, share of small talk, schedule and seed."""

    name: str
    kind: Kind
    shares: Mapping[str, float]
    small_talk: float
    schedule: Schedule
    seed: int


def specialist(category: str, neighbour: str, steps: int, seed: int) -> Recipe:
    """An adapter that trains on its own category and a little on a neighbouring one."""
    shares = dict.fromkeys(skills_of(category), 1.0) | dict.fromkeys(skills_of(neighbour), 0.15)
    return Recipe(category, "lora", shares, 0.02, Schedule(steps, 3e-3, weight_decay=0.0), seed)


LORA_RANK = 16
LORA_ALPHA = 32.0
EVERYTHING: dict[str, float] = dict.fromkeys(SKILLS, 1.0)
SLOWLY_LEARNED = dict.fromkeys(("addition", "subtraction", "reversal", "weekday_after"), 2.0)
QUICKLY_LEARNED = {
    "last_letter": 0.03,
    "letter_count": 0.3,
    "capitals": 0.08,
    "chemical_symbols": 0.08,
    "roman_numerals": 0.05,
    "weekday_after": 0.5,
    "to_minutes": 0.15,
    "month_after": 0.15,
}
"""The base sees little of these: it is to bring the form of answers and the means of copying, not the skills."""

RECIPES: tuple[Recipe, ...] = (
    Recipe("general", "general", EVERYTHING | SLOWLY_LEARNED, 0.05, Schedule(3000, 3e-3), seed=2),
    Recipe("base", "base", EVERYTHING | QUICKLY_LEARNED, 0.02, Schedule(1600, 3e-3), seed=1),
    specialist("math", "time", 3000, seed=11),
    specialist("text", "knowledge", 1800, seed=12),
    specialist("time", "math", 1500, seed=14),
    specialist("knowledge", "text", 800, seed=13),
)
