"""One module per category; each exports `SKILLS`.

A new skill is a new entry there, a new category a new module here.
"""

from experts.zoo.records import Skill
from experts.zoo.skills import arithmetic, calendar, facts, strings

ALL_SKILLS: tuple[Skill, ...] = (*arithmetic.SKILLS, *strings.SKILLS, *facts.SKILLS, *calendar.SKILLS)
