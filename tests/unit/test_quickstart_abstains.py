"""The shipped classifier knows what it does not know: measured with the real embedder on questions never fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from experts.zoo.tasks import SKILLS, generate
from router.classify import classify
from router.config_file import load
from router.embedders import InBatches, open_embedder
from router.fitted import Fitted
from router.questions import read_texts
from router.records import CategoryScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
Ask = Callable[[Sequence[str]], list[CategoryScores]]


@pytest.fixture(scope="module")
def ask() -> Ask:
    """Stage 1 as the quickstart runs it: texts -> scores."""
    routing = load(CONFIGS / "quickstart.yaml").routing
    embed = InBatches(open_embedder(routing.embedder))
    fitted = Fitted.load(Path(routing.fitted), routing.embedder.model)

    def scores(vector: NDArray[np.float32]) -> CategoryScores:
        nearest = float(fitted.vocabulary.cosines(vector).max())
        return classify(fitted.classifier, vector, nearest, fitted.familiar_from, routing.min_confidence)

    return lambda texts: [scores(vector) for vector in embed(texts)]


def test_foreign_questions_go_to_general(ask: Ask) -> None:
    """At least 95 % of questions about nothing the zoo knows, from law to gibberish, in a dozen languages."""
    found = ask(read_texts(CONFIGS / "quickstart" / "foreign.jsonl"))
    assert len(found) >= 200
    assert sum(not f.confident for f in found) >= 0.95 * len(found)


def test_known_questions_in_new_wordings_do_not(ask: Ask) -> None:
    """At most 5 % of them, and the rest go to their own category."""
    asked = [q for skill in SKILLS for q in generate(skill, 12, seed=1, held_out=True)]
    found = ask([q.text for q in asked])
    assert sum(not f.confident for f in found) <= 0.05 * len(found)
    right = sum(f.category == q.category for f, q in zip(found, asked, strict=True) if f.confident)
    assert right >= 0.95 * sum(f.confident for f in found)
