"""Model cards: what an expert is, how it was trained, what it can do.

A card is written twice: `card.json` for machines, `README.md` for people.
Owns: the cards' form. Must not know: training loops, engines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from experts.zoo.evaluate import EVALUATION_SEED, Score
from experts.zoo.tasks import SKILLS


@dataclass(frozen=True, slots=True)
class Card:
    """Everything a card says. `parameters` counts the weights of this folder's file only."""

    name: str
    kind: str
    part: str
    architecture: str
    parameters: int
    training_steps: int
    training_batch: int
    training_shares: Mapping[str, float]
    seed: int
    own_skills: Sequence[str]
    weights_file: str
    weights_sha256: str
    accuracy: Mapping[str, Mapping[str, float]]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def accuracy_rows(scores: Mapping[str, Score]) -> dict[str, dict[str, float]]:
    """Per skill: correct, n, accuracy and the ends of its 95 % interval, rounded to four digits."""
    return {
        skill: {
            "correct": score.correct,
            "n": score.n,
            "accuracy": round(score.accuracy, 4),
            "low": round(score.interval[0], 4),
            "high": round(score.interval[1], 4),
        }
        for skill, score in scores.items()
    }


def write_card(card: Card, folder: Path) -> None:
    """Writes `card.json` and `README.md` into the folder of the weights."""
    (folder / "card.json").write_text(json.dumps(asdict(card), indent=2) + "\n")
    (folder / "README.md").write_text(readme(card))


def read_card(folder: Path) -> Card:
    """The card of a folder. Raises TypeError when fields are missing or unknown."""
    return Card(**json.loads((folder / "card.json").read_text()))


TASKS = {
    "answers": ("answers short questions of the skills below with the bare answer, and knows nothing else",
                "Greedy answers, exact match"),
    "keywords": ("names the skill of a short question (\"Keywords: ...\"), as stage 2 of the router asks for it",
                 "Greedy answers, the skill's name exactly"),
    "aggregator": ("reads a question and three experts' responses and gives the final answer",
                   "One right and two wrong responses in random order, greedy, exact match (picking at random: 33 %)"),
}  # fmt: skip


def readme(card: Card) -> str:
    """The card in Markdown, with the front matter model hubs read."""
    shares = {skill: share / sum(card.training_shares.values()) for skill, share in card.training_shares.items()}
    rows = [
        f"| {f'**{skill}**' if skill in card.own_skills and card.part == 'answers' else skill} "
        f"| {SKILLS[skill].category} | {shares.get(skill, 0):.0%} | {row['accuracy']:.1%} "
        f"| {row['low']:.1%} – {row['high']:.1%} |"
        for skill, row in card.accuracy.items()
    ]
    n = next((int(row["n"]) for row in card.accuracy.values()), 0)
    mean = sum(row["accuracy"] for row in card.accuracy.values()) / max(1, len(card.accuracy))
    task, measured = TASKS[card.part]
    own = "Its own skills are bold. " if card.own_skills and card.part == "answers" else ""
    return f"""\
---
license: apache-2.0
language: en
---
# {card.name} ({card.kind})

A small expert of the Symposium zoo, for tests and demonstrations: it {task}.

* Architecture: {card.architecture}, {card.parameters:,} parameters in `{card.weights_file}`
* Training: {card.training_steps:,} steps of {card.training_batch} synthetic conversations, seed {card.seed}
* Made by `python -m experts.zoo.train`
* Weights are stored in float16; run them in float32.

## Accuracy
{measured}; {n} questions a skill in wordings that no training showed, seed {EVALUATION_SEED}; for skills that are not
closed tables the numbers and words were never shown either. {own}Mean over skills: {mean:.1%}. Intervals: Wilson, 95 %.

| skill | category | share of training | accuracy | 95 % interval |
|---|---|---|---|---|
{chr(10).join(rows)}
"""
