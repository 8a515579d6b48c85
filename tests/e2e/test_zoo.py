"""The zoo through its engines: what one expert alone misses, another knows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from experts.zoo.tasks import SKILLS, generate
from loadtest.routing_asking import ask_all, models
from loadtest.routing_figures import rights
from loadtest.routing_records import Question
from loadtest.server import Served

pytestmark = pytest.mark.engine


@pytest.mark.anyio
async def test_the_best_single_expert_stays_well_under_the_oracle(served: Served) -> None:
    """At least ten points, on two held-out questions a skill asked of every expert: there is something to route."""
    asked = [
        Question(q.text, q.answer, q.category, q.skill, f"{q.skill}/{q.template}")
        for skill in SKILLS
        for q in generate(skill, 2, seed=41, held_out=True)
    ]
    experts = (await models(served.url, "")).experts
    replies = await ask_all(served.url, experts, asked, "", 32, Console(file=io.StringIO()))
    right = {name: rights(found) for name, found in replies.items()}
    oracle = float(np.max(list(right.values()), axis=0).mean())
    best = max(float(values.mean()) for values in right.values())
    assert len(right) == 15
    assert oracle - best >= 0.1, (oracle, best)
