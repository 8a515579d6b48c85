"""Questions: pure, seeded generation over the registry of skills.

Owns: which skills exist, and that a seed always gives the same questions. Must not know: models, tokens,
training.
"""

from __future__ import annotations

from random import Random

from experts.zoo.records import Payload, Question, Skill
from experts.zoo.skills import ALL_SKILLS

SKILLS: dict[str, Skill] = {skill.name: skill for skill in ALL_SKILLS}
CATEGORIES: tuple[str, ...] = tuple(dict.fromkeys(skill.category for skill in ALL_SKILLS))


def skills_of(category: str) -> tuple[str, ...]:
    """Names of the skills of one category, in the registry's order."""
    return tuple(skill.name for skill in ALL_SKILLS if skill.category == category)


def generate(skill: str, n: int, seed: int, held_out: bool = False, fresh: bool = False) -> list[Question]:
    """`n` questions of one skill, the same for the same arguments.

    With `held_out`, both the wordings and (for skills that generalise) the payloads are ones training never
    shows; with `fresh`, the payloads alone. Raises KeyError for an unknown skill.
    """
    rng = Random(f"{skill}/{seed}/{held_out}" + "/fresh" * fresh)
    return [ask(SKILLS[skill], rng, held_out, fresh) for _ in range(n)]


def ask(skill: Skill, rng: Random, held_out: bool = False, fresh: bool = False) -> Question:
    """One question of `skill`, drawn from the caller's `rng`."""
    payload = _draw(skill, rng, held_out or fresh)
    wordings = skill.held_out_wordings if held_out else skill.wordings
    template = rng.randrange(len(wordings))
    return Question(
        text=wordings[template].format(**payload.slots),
        answer=payload.answer,
        category=skill.category,
        skill=skill.name,
        template=template + (len(skill.wordings) if held_out else 0),
        held_out=held_out,
    )


def _draw(skill: Skill, rng: Random, reserved: bool) -> Payload:
    while True:
        payload = skill.draw(rng)
        if skill.memorised or payload.reserved == reserved:
            return payload
