"""One module per category; each exports `SKILLS`.

A new skill is a new entry there, a new category a new module here.
"""

from experts.zoo.records import Skill
from experts.zoo.skills import (
    algebra,
    arithmetic,
    calendar,
    comparison,
    facts,
    logic,
    number_theory,
    sequences,
    sets,
    strings,
    units,
)

ALL_SKILLS: tuple[Skill, ...] = (
    *arithmetic.SKILLS,
    *algebra.SKILLS,
    *number_theory.SKILLS,
    *comparison.SKILLS,
    *strings.SKILLS,
    *logic.SKILLS,
    *sequences.SKILLS,
    *sets.SKILLS,
    *calendar.SKILLS,
    *units.SKILLS,
    *facts.SKILLS,
)
