"""Fitting both stages: the exported arrays give scikit-learn's probabilities; figures by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from router.fit import FOLDS, KNOWN_ABSTAIN, REGULARISATION, fit, texts_embedded
from router.fitted import Fitted
from router.questions import LabelledQuestion
from router.skills import infer

DIMENSIONS = 8


class Cloud:
    """An embedder by skill: the texts `<skill> <number>` lie around the skill's own direction, as does its name."""

    name = "cloud"

    def __init__(self, spread: float) -> None:
        self._spread = spread
        self.texts = 0

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = []
        self.texts += len(texts)
        for text in texts:
            skill, number = text.split() if " " in text else (text, "0")
            centre = np.random.default_rng(sum(skill.encode())).normal(size=DIMENSIONS)
            noise = np.random.default_rng([sum(skill.encode()), int(number)]).normal(size=DIMENSIONS)
            rows.append(centre + self._spread * noise)
        vectors = np.array(rows)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def questions(skills: dict[str, str], wordings: int = 10, each: int = 2) -> list[LabelledQuestion]:
    """`each` questions of every wording of every skill; `skills` is skill -> category."""
    return [
        LabelledQuestion(
            question=f"{skill} {wording * each + i}", answer="x", category=category, skills=(skill,),
            group=f"{skill}-{wording}",
        )
        for skill, category in skills.items()
        for wording in range(wordings)
        for i in range(each)
    ]  # fmt: skip


TWO = {"sums": "math", "words": "text"}
FOUR = {"sums": "math", "products": "math", "words": "text", "dates": "time"}


@pytest.mark.parametrize("skills", [TWO, FOUR], ids=["two categories", "three categories"])
def test_the_exported_probabilities_are_scikit_learns(skills: dict[str, str]) -> None:
    """Every question gets the probabilities that scikit-learn's own calibrated model gives it, label by label."""
    asked, embed = questions(skills), Cloud(spread=0.8)
    fitted = fit(asked, embed, seed=3)
    vectors = embed([q.question for q in asked])
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=3)
    splits = list(folds.split(vectors, [q.skills[0] for q in asked], [q.group for q in asked]))
    linear = LogisticRegression(C=REGULARISATION, max_iter=2000)
    theirs = CalibratedClassifierCV(linear, method="temperature", cv=splits, ensemble=False)
    theirs.fit(vectors, [q.category for q in asked])
    ours = np.array([fitted.classifier.probabilities(v) for v in vectors])
    assert fitted.classifier.labels == tuple(theirs.classes_)
    np.testing.assert_allclose(ours, theirs.predict_proba(vectors), atol=1e-4)


def test_a_skills_centroid_is_the_mean_direction_of_its_questions() -> None:
    """Rows of length 1, in the order of the names; a question is nearest to its own skill."""
    embed = Cloud(spread=0.2)
    vocabulary = fit(questions(FOUR), embed).vocabulary
    assert vocabulary.names == ("dates", "products", "sums", "words")
    mean = embed([q.question for q in questions({"sums": "math"})]).mean(axis=0)
    np.testing.assert_allclose(vocabulary.centroids[2], mean / np.linalg.norm(mean), atol=1e-6)
    scores = infer(vocabulary, vocabulary.cosines(embed(["words 99"])[0]), floor=0.5, max_skills=1)
    assert list(scores.weights) == ["words"]


def test_a_question_counts_for_all_its_skills() -> None:
    """Two skills of the same questions have the same centroid; the nearest of either is right."""
    both = [q.model_copy(update={"skills": (*q.skills, "twin")}) for q in questions({"sums": "math"})]
    fitted = fit([*both, *questions({"words": "text"})], Cloud(0.1))
    vocabulary = fitted.vocabulary
    assert vocabulary.names == ("sums", "twin", "words")
    np.testing.assert_allclose(vocabulary.centroids[0], vocabulary.centroids[1])
    assert fitted.report["cross_validated"]["skill_accuracy"]["value"] == 1.0


def test_skill_names_are_embedded_as_words() -> None:
    """Rows of length 1 in the order of the names, with blanks for underscores."""
    embed = Cloud(0.1)
    vocabulary = fit(questions({"sums": "math", "words_3": "text"}), embed).vocabulary
    assert vocabulary.names == ("sums", "words_3")
    np.testing.assert_array_equal(vocabulary.name_vectors, embed(["sums", "words 3"]))


def test_the_report_has_figures_of_wordings_never_seen() -> None:
    """Clear clouds are told apart, mixed ones are not; counts are those of the questions."""
    clear, mixed = fit(questions(FOUR), Cloud(0.1)).report, fit(questions(FOUR), Cloud(20.0)).report
    assert (clear["questions"], clear["wordings"], clear["skills"]) == (80, 40, 4)
    assert clear["categories"] == {"math": 40, "text": 20, "time": 20}
    assert (clear["test"], clear["foreign"]) == (None, None)
    assert clear["cross_validated"]["category_accuracy"]["value"] == 1.0
    assert clear["cross_validated"]["skill_accuracy"]["value"] == 1.0
    assert mixed["cross_validated"]["category_accuracy"]["value"] < 0.9
    assert mixed["cross_validated"]["skill_accuracy"]["value"] < 0.6


def test_few_known_questions_abstain_and_foreign_ones_do() -> None:
    """The limit of the familiar is learned: at most the set share of known wordings falls below it."""
    far = ["law 1", "cooking 1", "travel 1"]
    fitted = fit(questions(FOUR), Cloud(0.3), foreign_texts=far)
    assert fitted.report["cross_validated"]["abstained"]["share"]["value"] <= KNOWN_ABSTAIN
    assert fitted.report["foreign"]["questions"] == 3
    assert fitted.report["foreign"]["unfamiliar"] == 1.0
    assert 0.5 < fitted.familiar_from < 1


def test_a_test_file_is_only_asked() -> None:
    """It changes no fitted part; wordings that were fitted on are counted, a category that was not is refused."""
    test = questions({"sums": "math"}, wordings=12)
    plain, tested = fit(questions(FOUR), Cloud(0.1)), fit(questions(FOUR), Cloud(0.1), test=test)
    np.testing.assert_array_equal(plain.classifier.weights, tested.classifier.weights)
    assert plain.familiar_from == tested.familiar_from
    assert tested.report["test"]["questions"] == 24
    assert tested.report["test"]["questions_of_wordings_fitted_on"] == 20
    assert tested.report["test"]["category_accuracy"]["value"] == 1.0
    with pytest.raises(ValueError, match="category 'law', of which"):
        fit(questions(FOUR), Cloud(0.1), test=questions({"torts": "law"}))


def test_the_number_of_texts_is_known_beforehand() -> None:
    """Progress ends at its end."""
    embed, known, test, far = Cloud(0.1), questions(FOUR), questions(TWO), ["far 1"]
    fit(known, embed, test=test, foreign_texts=far)
    assert embed.texts == texts_embedded(known, test, far)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    """Training is reproducible, and the file holds all of it."""
    one, two = (fit(questions(FOUR), Cloud(0.5), seed=7) for _ in range(2))
    np.testing.assert_array_equal(one.classifier.weights, two.classifier.weights)
    assert (one.report, one.classifier.temperature) == (two.report, two.classifier.temperature)
    one.save(tmp_path / "f.npz")
    assert Fitted.load(tmp_path / "f.npz", "cloud").report == two.report


def test_one_category_cannot_be_told_apart() -> None:
    """At least two are needed."""
    with pytest.raises(ValueError, match="at least two categories"):
        fit(questions({"sums": "math"}), Cloud(0.1))


def test_too_few_wordings_are_named() -> None:
    """Every fold needs a wording of its own; questions without a group are each a wording."""
    few = questions({"sums": "math"}) + questions({"words": "text"}, wordings=4)
    with pytest.raises(ValueError, match="category 'text' has 4 wordings"):
        fit(few, Cloud(0.1))
    alone = [q.model_copy(update={"group": None}) for q in few]
    assert fit(alone, Cloud(0.1)).report["wordings"] == len(alone)


def test_a_rare_skill_of_a_common_category_is_no_obstacle() -> None:
    """Only categories need wordings in every fold: a skill with one wording is fitted like the others."""
    rare = [*questions(FOUR), *questions({"roots": "math"}, wordings=1, each=1)]
    assert "roots" in fit(rare, Cloud(0.1)).vocabulary.names


def test_skills_may_all_be_rare() -> None:
    """A user's keywords, each of few questions: folds then hold the categories apart, which have enough of them."""
    known = questions(FOUR)
    fine = [q.model_copy(update={"skills": (f"{q.skills[0]}-{i // 2}",)}) for i, q in enumerate(known)]
    assert len(fit(fine, Cloud(0.1)).vocabulary.names) > len(known) / 3
