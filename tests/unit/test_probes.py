"""Probes: what they find right and wrong of a decision; that the pipeline which serves is what decides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from router.knowledge import Knowledge
from router.probes import Probe, Probed, differences, probed, unknown_names
from router.records import Plan, Query, SkillScores
from tests.api.world import POLICIES, SUM, WHO, KeywordEmbedder, config
from tests.unit.make import candidate, categories, decision, query

PANEL = decision(
    plan=Plan((("ada",), ("bob",)), "vote", ("cy",), "convened"),
    categories=categories({"math": 0.9, "text": 0.1}),
    skills=SkillScores({"sums": 0.8, "products": 0.2}),
    candidates=tuple(candidate(name, usd_per_query=usd) for name, usd in (("ada", 2e-4), ("bob", 1e-4), ("cy", 9))),
    overhead_s=0.004,
)


def wrong(**expected: Any) -> list[str]:
    """The fields of a probe that a decision for two experts is not as expected in."""
    return [str(at[0]) for at, _ in differences(Probe(prompt="?", **expected), PANEL)]


@pytest.mark.parametrize(
    ("right", "other"),
    [
        ({"category": "math"}, {"category": "text"}),
        ({"skills": ["sums", "products"]}, {"skills": ["sums", "rhymes"]}),
        ({"experts": ["bob"]}, {"experts": ["ada", "cy"]}),
        ({"one_of": ["bob", "cy"]}, {"one_of": ["cy"]}),
        ({"max_experts": 2}, {"max_experts": 1}),
        ({"max_usd": 3.1e-4}, {"max_usd": 2.9e-4}),
        ({"max_overhead_ms": 5}, {"max_overhead_ms": 3}),
    ],
)
def test_each_expectation_can_be_met_and_can_fail(right: dict[str, Any], other: dict[str, Any]) -> None:
    """Who may be asked is all waves; spares are not asked unless somebody fails, so they neither count nor cost."""
    assert wrong(**right) == []
    assert wrong(**other) == list(other)


def test_only_means_nobody_else() -> None:
    """Without it others may be asked besides."""
    assert wrong(experts=["ada", "bob"], only=True) == []
    assert wrong(experts=["ada"], only=True) == ["only"]
    assert wrong(experts=["ada"]) == []


def test_everything_that_differs_is_said() -> None:
    """With what came instead."""
    said = dict(differences(Probe(prompt="?", category="text", experts=("cy",), max_usd=0), PANEL))
    assert said == {
        ("category",): "it is taken for math, not text",
        ("experts",): "not asked: cy; asked: ada, bob",
        ("max_usd",): "0.0003 USD are expected when all of ada, bob are asked",
    }


@pytest.mark.parametrize("fields", [{}, {"only": True}, {"max_experts": 0}, {"prompt": ""}, {"max_usd": -1}])
def test_a_probe_that_could_not_fail_is_refused(fields: dict[str, Any]) -> None:
    """It expects something, and something that can be."""
    with pytest.raises(ValidationError):
        Probe.model_validate({"prompt": "?"} | fields)


@pytest.fixture
def know(tmp_path: Path) -> Knowledge:
    """A world of recorded experts that nobody starts: whoever were asked would not answer."""
    return Knowledge.load(config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9"))


def ask(model: str, prompt: str) -> Query:
    return query(prompt, model=model)


def ticks() -> Iterator[float]:
    yield from (tick / 1000 for tick in count())


async def decided(know: Knowledge, *probes: Probe) -> list[Probed]:
    clock = ticks()
    return await probed(probes, know, KeywordEmbedder(), ask, lambda: next(clock))


async def test_the_serving_pipeline_decides_with_everybody_up(know: Knowledge) -> None:
    """Every policy of the world, also those that ask a keyword expert: skills are then found by embedding."""
    found = await decided(know, *(Probe(prompt=SUM, policy=name, category="sums") for name in POLICIES))
    assert [one.wrong for one in found] == [()] * len(POLICIES)
    plans = {one.probe.policy: one.decision.plan for one in found if one.decision}
    assert set(plans["auto"].experts) <= {"ant", "bee", "cat", "dog", "gone"}
    assert plans["solo"].experts == ("ant",)
    assert plans["mapped"].experts == ("cat",)


async def test_what_fails_is_said_with_the_decision(know: Knowledge) -> None:
    """One wrong probe leaves the others as they are; each goes by its own policy."""
    first, second = await decided(
        know, Probe(prompt=WHO, category="sums", experts=("bee",), policy="solo"), Probe(prompt=SUM, category="sums")
    )
    assert [at for at, _ in first.wrong] == [("category",), ("experts",)]
    assert first.decision is not None
    assert second.wrong == ()


async def test_a_question_that_nobody_may_take_is_a_failed_probe(know: Knowledge) -> None:
    """Longer than every context: the client's own error is what is wrong."""
    (one,) = await decided(know, Probe(prompt="a" * 2_000_000, policy="solo", category="sums"))
    ((at, why),) = one.wrong
    assert (at, one.decision) == (("prompt",), None)
    assert "longer than the context" in why


async def test_the_time_is_that_of_the_decision(know: Knowledge) -> None:
    """On a clock that goes on by a millisecond whenever it is read."""
    quick, slow = await decided(know, Probe(prompt=SUM, max_overhead_ms=1000), Probe(prompt=SUM, max_overhead_ms=0.5))
    assert quick.wrong == ()
    assert [at for at, _ in slow.wrong] == [("max_overhead_ms",)]


def test_names_that_the_configuration_does_not_have_are_said(know: Knowledge) -> None:
    """Such a probe could never pass; the keyword expert is never convened, so it is none of them."""
    probes = [
        Probe(
            prompt="?", policy="sole", category="sum", skills=("adition",), experts=("ants",), one_of=("namer", "bee")
        )
    ]
    assert [(at, why.split(";")[0]) for at, why in unknown_names(probes, know)] == [
        (("probes", 0, "policy"), "unknown 'sole'"),
        (("probes", 0, "category"), "unknown 'sum'"),
        (("probes", 0, "skills"), "unknown 'adition'"),
        (("probes", 0, "experts"), "unknown 'ants'"),
        (("probes", 0, "one_of"), "unknown 'namer'"),
    ]
    assert list(unknown_names([Probe(prompt="?", category="general")], know)) == []
