"""What `loadtest.panels` heard, and the figures made of it: served against worked out offline. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtest.panels_data import Item, Panel
from loadtest.panels_offline import Rule, Simulated, simulate
from loadtest.routing_figures import Resampling

WANTED_POINTS = 0.2
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """One answered request.

    Attributes:
        expert: whose words came; text: the words; share, posterior: of the vote, None where there was none.
        p_correct: expert -> predicted correctness, rounded, in the router's own order.
        abstained: the question was unlike what is known, so that the general expert comes first.
        answered: who was heard, the first first; cut: who was not, and after how many seconds; asked: all calls.
        output_tokens: as the server knows them; of a call that was cut, an expert elsewhere reports next to nothing.
    """

    expert: str
    text: str
    p_correct: Mapping[str, float]
    abstained: bool
    answered: tuple[str, ...]
    cut: Mapping[str, float]
    asked: int
    output_tokens: int
    posterior: float | None
    seconds: float

    def order(self, general: str) -> tuple[str, ...]:
        """Whom to ask first: by predicted correctness, but the general expert where nothing is known."""
        return tuple(sorted(self.p_correct, key=lambda e: (not (self.abstained and e == general), -self.p_correct[e])))


@dataclass(frozen=True, slots=True)
class Compared:
    """One question under one policy. `letter` is the recorded one of the expert whose words came."""

    item: Item
    heard: Heard
    letter: str
    offline: Simulated

    @property
    def right(self) -> bool:
        return self.letter == self.item.gold

    @property
    def right_offline(self) -> bool:
        return self.offline.letter == self.item.gold


def heard(completion: Mapping[str, Any], seconds: float) -> Heard:
    """A chat completion that was asked to explain itself.

    Raises:
        LookupError, TypeError, ValueError: it is none.
    """
    told = completion["symposium"]
    p_correct = {c["expert"]: float(c["p_correct"]) for c in told["candidates"]}
    legs = [leg for leg in told["legs"] if leg["role"] == "answer"]
    answered = [leg for leg in legs if leg["outcome"] == "answered"]
    vote = told.get("vote") or {}
    return Heard(
        expert=told["answered_by"],
        text=completion["choices"][0]["message"]["content"] or "",
        p_correct=p_correct,
        abstained=told["abstained"] is not None,
        answered=tuple(leg["expert"] for leg in sorted(answered, key=lambda leg: float(leg["seconds"]))),
        cut={leg["expert"]: float(leg["seconds"]) for leg in legs if leg["outcome"] == "cut"},
        asked=len(legs),
        output_tokens=sum(int((leg["usage"] or {}).get("completion_tokens", 0)) for leg in legs),
        posterior=vote.get("posterior"),
        seconds=seconds,
    )


def rule(policy: Mapping[str, Any], size: int, alternatives: float, decided_at: float) -> Rule:
    """A policy of the configuration -> what is worked out; `decided_at` is what holds where it says nothing."""
    if policy["max_experts"] == 1:
        return Rule((1,), alternatives, None)
    waves = tuple(policy.get("waves") or (size,))
    return Rule(waves, alternatives, policy.get("decided_at", decided_at), policy.get("votes") == "equal")


def compare(panel: Panel, answers: Sequence[Heard], how: Rule) -> list[Compared]:
    """Each answer beside what the recorded letters and the predicted correctness give."""
    found = []
    for item, told in zip(panel.test, answers, strict=True):
        letters = {expert: given.letter for expert, given in item.given.items()}
        experts = told.order(panel.models[0])[: sum(how.waves)]
        offline = simulate(how, experts, letters, told.p_correct, told.answered)
        found.append(Compared(item, told, letters[told.expert], offline))
    return found


def report(
    panel: Panel, compared: Mapping[str, Sequence[Compared]], seed: int, tokens_per_s: float | None = None
) -> JsonObject:
    """Everything that is published.

    Args:
        compared: policy -> questions in one order.
        tokens_per_s: the pace of every model, by which a call that was cut had generated something.
    """
    draws = Resampling.of([str(i) for i in range(len(panel.test))], seed)
    rights = {name: np.array([c.right for c in rows], dtype=np.float64) for name, rows in compared.items()}
    models = {m: [i.given[m].letter == i.gold for i in panel.test] for m in panel.models}
    return {
        "questions": {"training": len(panel.training), "test": len(panel.test)},
        "models": {m: round(statistics.fmean(r), 4) for m, r in models.items()},
        "oracle": round(float(np.mean([any(r) for r in zip(*models.values(), strict=True)])), 4),
        "policies": {
            name: _policy(rows, tokens_per_s) | {"interval": draws.interval(rights[name])}
            for name, rows in compared.items()
        },
        "early_against_all": {
            name: _paired(rights[name], rights["all"], draws)
            for name in compared
            if name not in ("single", "all", "majority") and "all" in compared
        },
    }


def _policy(rows: Sequence[Compared], tokens_per_s: float | None) -> JsonObject:
    clear = [c for c in rows if c.item.clear]
    return {
        **_agreement(rows),
        "clear": {"questions": len(clear), **(_agreement(clear) if clear else {})},
        "calls_differ": sum(c.heard.asked != c.offline.asked for c in rows),
        "texts_differ": sum(c.heard.text != c.item.given[c.heard.expert].text for c in rows),
        "calls_per_question": round(statistics.fmean(c.heard.asked for c in rows), 3),
        "heard_per_question": round(statistics.fmean(len(c.heard.answered) for c in rows), 3),
        "calls_per_question_offline": round(statistics.fmean(c.offline.asked for c in rows), 3),
        "heard_per_question_offline": round(statistics.fmean(len(c.offline.heard) for c in rows), 3),
        "output_tokens_per_question": round(statistics.fmean(c.heard.output_tokens for c in rows), 1),
        "generated_tokens_per_question": _generated(rows, tokens_per_s),
        "seconds": _seconds([c.heard.seconds for c in rows]),
    }


def _agreement(rows: Sequence[Compared]) -> JsonObject:
    """Served against worked out."""
    served, offline = statistics.fmean(c.right for c in rows), statistics.fmean(c.right_offline for c in rows)
    points = round(100 * (served - offline), 3)
    return {
        "accuracy": round(served, 4),
        "accuracy_offline": round(offline, 4),
        "difference_points": points,
        "within": abs(points) <= WANTED_POINTS,
        "letters_differ": sum(c.letter != c.offline.letter for c in rows),
    }


def _generated(rows: Sequence[Compared], tokens_per_s: float | None) -> float | None:
    """Also what was thrown away: of a call that was cut, as much as the pace allows; None where there is no pace."""
    if tokens_per_s is None:
        return None

    def generated(c: Compared) -> float:
        given = c.item.given
        heard = sum(given[expert].tokens for expert in c.heard.answered)
        return heard + sum(min(given[expert].tokens, s * tokens_per_s) for expert, s in c.heard.cut.items())

    return round(statistics.fmean(map(generated, rows)), 1)


def _seconds(values: Sequence[float]) -> JsonObject:
    return {
        "mean": round(statistics.fmean(values), 4),
        "p50": round(statistics.median(values), 4),
        "p95": round(float(np.percentile(values, 95)), 4),
    }


def _paired(values: np.ndarray[Any, Any], others: np.ndarray[Any, Any], draws: Resampling) -> JsonObject:
    """What one gains over the other on the same questions, in points; and where they differ."""
    difference = values - others
    return {
        "points": round(100 * float(difference.mean()), 3),
        "interval": [round(100 * bound, 3) for bound in draws.interval(difference)],
        "only_this_right": int((difference > 0).sum()),
        "only_all_right": int((difference < 0).sum()),
    }


def disagreements(compared: Mapping[str, Sequence[Compared]]) -> list[JsonObject]:
    """Where the served letter is another one than the one worked out, with what led to it; and where words differ."""
    return [
        {
            "policy": name,
            "question": c.item.text[:120],
            "gold": c.item.gold,
            "served": {"letter": c.letter, "expert": c.heard.expert, "posterior": c.heard.posterior},
            "offline": {"letter": c.offline.letter, "expert": c.offline.expert},
            "letters": {e: c.item.given[e].letter for e in c.heard.p_correct},
            "p_correct": dict(c.heard.p_correct),
            "heard": list(c.heard.answered),
            "heard_offline": list(c.offline.heard),
            "clear": c.item.clear,
            "ends": {e: c.item.given[e].text[-160:] for e in c.heard.p_correct},
        }
        for name, rows in compared.items()
        for c in rows
        if c.letter != c.offline.letter or c.heard.text != c.item.given[c.heard.expert].text
    ]
