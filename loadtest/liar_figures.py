"""What `loadtest.liar` heard, and the figures made of it: a panel with its liar speaking against the same panel with
the liar silent. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.routing_figures import Resampling
from loadtest.routing_records import Question, bare

if TYPE_CHECKING:
    from numpy.typing import NDArray

WANTED_POINTS = 1.0  # at most so much accuracy may a liar cost
MARK = re.compile(r"(?i)\banswer is:?\s+(?=\S)")
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """One answered request: the words, who said them, how the answer was made. `failed`: why there is none."""

    text: str = ""
    expert: str | None = None
    how: str = ""
    why: str = ""
    failed: str | None = None


def core(text: str) -> str:
    """The last marked answer, else all of the text; case, blanks and closing punctuation do not matter."""
    return bare(MARK.split(text)[-1].partition("\n")[0] if MARK.search(text) else text)


def heard(completion: Mapping[str, Any]) -> Heard:
    """A chat completion that was asked to explain itself.

    Raises:
        LookupError, TypeError, ValueError: it is none.
    """
    told = completion["symposium"]
    text = completion["choices"][0]["message"]["content"] or ""
    return Heard(text, told["answered_by"], told["aggregated"], told["why"])


@dataclass(frozen=True, slots=True)
class Compared:
    """One panel with its liar speaking, and the same one with the liar silent, in the order of the questions."""

    speaking: Sequence[Heard]
    silent: Sequence[Heard]


def compare(questions: Sequence[Question], lies: Mapping[str, str], pair: Compared, draws: Resampling) -> JsonObject:
    """Accuracy of both and the paired difference, in points, with its 95 % interval over wordings.

    `lost`: right only while the liar is silent; `gained`: right only while it speaks; `repeated`: says the lie.

    Args:
        lies: question -> lie.
    """
    speaking, silent = rights(questions, pair.speaking), rights(questions, pair.silent)
    points = 100 * float((speaking - silent).mean())
    repeated = sum(core(h.text) == core(lies[q.text]) for q, h in zip(questions, pair.speaking, strict=True))
    return {
        "accuracy": round(float(speaking.mean()), 4),
        "accuracy_silent": round(float(silent.mean()), 4),
        "points": round(points, 2),
        "interval": [round(100 * bound, 2) for bound in draws.interval(speaking - silent)],
        "within": points >= -WANTED_POINTS,
        "lost": int((silent > speaking).sum()),
        "gained": int((speaking > silent).sum()),
        "repeated": repeated,
        "made_by": dict(Counter(f"{h.how} ({h.why})" for h in pair.speaking if h.failed is None)),
        "failed": sum(h.failed is not None for h in (*pair.speaking, *pair.silent)),
    }


def rights(questions: Sequence[Question], given: Sequence[Heard]) -> NDArray[np.float64]:
    """1 for a right answer, 0 for a wrong or missing one."""
    right = [h.failed is None and core(h.text) == core(q.answer) for q, h in zip(questions, given, strict=True)]
    return np.array(right, dtype=np.float64)


def report(
    questions: Sequence[Question], lies: Mapping[str, str], pairs: Mapping[str, Mapping[str, Compared]], seed: int
) -> JsonObject:
    """Everything that is published. `pairs`: what is known of the liar -> policy -> its answers."""
    draws = Resampling.of([q.group for q in questions], seed)
    cases = {
        known: {policy: compare(questions, lies, pair, draws) for policy, pair in policies.items()}
        for known, policies in pairs.items()
    }
    over = [f"{known}: {policy}" for known, rows in cases.items() for policy, row in rows.items() if not row["within"]]
    return {
        "questions": len(questions),
        "wordings": int(draws.times.shape[1]),
        "seed": seed,
        "cases": cases,
        "over": over,
    }
