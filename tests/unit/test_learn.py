"""Learning from who answered what, end to end: a tiny world of two skills, and what is served of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from router.calibration import Calibration, Graded
from router.correctness import VIEWS, Correctness, Reading
from router.fit import fit, labelled
from router.fitted import Fitted
from router.learn import Answered, Settings, _lesson, answered, category_of_skill, learn, read
from router.learn_correctness import learn_correctness
from router.learn_stopping import PRICES
from router.learned import Learned
from router.questions import LabelledQuestion
from router.rates import Counts, Rates
from router.stopping import FEATURES

EXPERTS = ("ada", "bob", "cy")
SETTINGS = Settings(strength=10.0, skill_floor=0.3, max_skills=3, max_chars=100)
DIMENSIONS = 8


class Cloud:
    """An embedder by skill: the texts `<skill> <number>` lie around the skill's own direction, as does its name."""

    name = "cloud"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = []
        for text in texts:
            skill, number = text.split() if " " in text else (text, "0")
            centre = np.random.default_rng(sum(skill.encode())).normal(size=DIMENSIONS)
            rows.append(
                centre + 0.4 * np.random.default_rng([sum(skill.encode()), int(number)]).normal(size=DIMENSIONS)
            )
        vectors = np.array(rows)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def questions(wordings: int = 50, each: int = 2) -> list[LabelledQuestion]:
    """`each` questions of every wording of two skills, each of its own category."""
    return [
        LabelledQuestion(
            question=f"{skill} {wording * each + i}", answer="0", category=category, skills=(skill,),
            group=f"{skill}-{wording}",
        )
        for skill, category in (("sums", "math"), ("words", "text"))
        for wording in range(wordings)
        for i in range(each)
    ]  # fmt: skip


def world(asked: Sequence[LabelledQuestion]) -> Answered:
    """ada calculates, bob reads, cy does a little of both; the wrong ones scatter over four answers."""
    rng = np.random.default_rng(0)
    sums = np.array([question.category == "math" for question in asked])
    p = np.stack([np.where(sums, 0.9, 0.3), np.where(sums, 0.3, 0.9), np.full(len(asked), 0.5)], axis=1)
    said = np.where(rng.random(p.shape) < p, 0, rng.integers(1, 5, p.shape))
    return Answered(asked, EXPERTS, (said == 0).astype(np.float64), said.astype(np.str_))


@cache
def known() -> tuple[Answered, Fitted, Learned]:
    """The world, the fitted parts, and what is learned from both."""
    given = world(questions())
    fitted = fit(given.questions, Cloud(), seed=1)
    return given, fitted, taught(given, seed=1)


def taught(given: Answered, seed: int = 0) -> Learned:
    """What is learned at a classifier's temperature of 1."""
    return learn(given, dict.fromkeys(given.experts, "v1"), 1.0, Cloud(), SETTINGS, seed)


def test_the_specialists_are_found() -> None:
    """On questions not fitted on: chosen one by one experts are right more often than the best single one."""
    _, _, found = known()
    assert found.report["chosen"] > found.report["best_single"] + 0.15
    assert found.report["brier"] < found.report["brier_of_base_rates"] - 0.03


def test_the_report_counts_what_was_learned_from() -> None:
    """Questions and views; the best single expert's share is a plain count."""
    given, _, found = known()
    assert (found.report["questions"], found.report["views"]) == (200, list(VIEWS))
    assert found.report["best_single"] == pytest.approx(given.right.mean(axis=0).max(), abs=1e-4)


def test_the_report_says_how_predictions_are_calibrated() -> None:
    """Of profiles alone and of what was learned: bins over all answers, whose shares add up to what was right."""
    given, _, found = known()
    for bins in found.report["calibration"].values():
        assert sum(bins["counts"]) == given.right.size
        columns = zip(bins["counts"], bins["confidence"], bins["accuracy"], strict=True)
        filled = [(n, p, right) for n, p, right in columns if n]
        assert sum(n * right for n, _, right in filled) == pytest.approx(given.right.sum(), abs=0.1)
        gaps = sum(n * abs(p - right) for n, p, right in filled) / given.right.size
        assert bins["ece"] == pytest.approx(gaps, abs=2e-4)
        assert bins["ece"] < 0.1
    assert found.report["calibration"]["profiles"] != found.report["calibration"]["learned"]


def test_what_profiles_alone_predict_knows_nothing_of_the_question() -> None:
    """Other answers in a fold change what is predicted of the other folds, and nothing in it."""
    given, _, _ = known()
    lesson = _lesson(given, labelled(given.questions, Cloud()), 1.0, SETTINGS, seed=1)
    held_out = lesson.folds == 0
    other = replace(lesson, right=np.where(held_out[:, None], 1 - lesson.right, lesson.right))
    was, now = (learn_correctness(of, SETTINGS.strength).by_profiles for of in (lesson, other))
    np.testing.assert_array_equal(was[held_out], now[held_out])
    assert (was[~held_out] != now[~held_out]).all()


def test_a_skill_belongs_to_the_category_of_most_of_its_questions() -> None:
    """Of as many in two to the first; the report keeps it."""
    one, two = questions(wordings=1, each=1)
    elsewhere = one.model_copy(update={"category": "logic"})
    assert category_of_skill([one, two]) == {"sums": "math", "words": "text"}
    assert category_of_skill([one, elsewhere]) == {"sums": "math"}
    assert category_of_skill([one, elsewhere, elsewhere]) == {"sums": "logic"}
    assert known()[2].report["category_of_skill"] == {"sums": "math", "words": "text"}


def test_all_parts_are_of_the_same_experts() -> None:
    """In the order in which their answers were given; the file names their versions and the embedder."""
    _, _, found = known()
    assert found.blend.experts == found.jury.experts == EXPERTS
    assert (found.embedder, found.versions) == ("cloud", dict.fromkeys(EXPERTS, "v1"))
    assert found.blend.meaning.weights.shape == (DIMENSIONS, len(EXPERTS))
    assert found.stopping.weights.shape == (len(PRICES), len(EXPERTS) - 1, FEATURES)


def test_new_questions_go_to_who_knows() -> None:
    """Read as they are served, by the parts fitted on everything: sums to ada, words to bob."""
    given, fitted, found = known()
    rates = _rates(given)
    for skill, expert in (("sums", 0), ("words", 1)):
        texts = [f"{skill} {number}" for number in range(900, 920)]
        vectors = Cloud()(texts)
        categories, skills = zip(
            *(read(v, fitted.classifier, fitted.vocabulary, SETTINGS) for v in vectors), strict=True
        )
        reading = Reading.of(texts, vectors, categories, skills, rates.categories, rates.skills)
        assert (Correctness(rates, found.blend).predict(reading).p.argmax(axis=1) == expert).mean() > 0.9


def _rates(given: Answered) -> Rates:
    """The world's profiles, as arrays."""
    labels = np.array([[q.category == "math", q.category == "text"] for q in given.questions], dtype=np.float64)
    asked = np.ones_like(given.right)
    counts = Counts(given.right.T @ labels, asked.T @ labels)
    overall = Counts(given.right.sum(axis=0), asked.sum(axis=0))
    return Rates(EXPERTS, ("math", "text"), ("sums", "words"), overall, counts, counts, SETTINGS.strength)


def test_what_was_learned_survives_its_file(tmp_path: Path) -> None:
    """Saved and loaded it is fit to serve."""
    _, _, found = known()
    found.save(tmp_path / "l.npz")
    again = Learned.load(tmp_path / "l.npz", "cloud")
    assert again is not None
    assert again.report == found.report
    np.testing.assert_array_equal(again.stopping.weights, found.stopping.weights)


def test_the_same_seed_gives_the_same_file() -> None:
    """Learning is reproducible."""
    given, _, found = known()
    again = taught(given, seed=1)
    np.testing.assert_array_equal(again.blend.relative, found.blend.relative)
    np.testing.assert_array_equal(again.jury.bias, found.jury.bias)
    np.testing.assert_array_equal(again.stopping.weights, found.stopping.weights)


def test_a_pool_of_one_is_learned_too() -> None:
    """There is nobody to choose, but how hard questions are; nothing divides by the others."""
    given, _, _ = known()
    alone = replace(given, experts=("ada",), right=given.right[:, :1], answers=given.answers[:, :1])
    found = taught(alone)
    assert found.report["chosen"] == found.report["best_single"]
    assert np.isfinite(found.blend.difficulty).all()


def test_a_skill_of_one_question_is_no_obstacle() -> None:
    """The fold that holds it out knows nothing of it."""
    rare = questions()
    rare[0] = rare[0].model_copy(update={"skills": ("roots",)})
    assert taught(world(rare)).report["questions"] == len(rare)


def test_too_few_wordings_are_refused() -> None:
    """However many questions they are asked in: some must be left when others are held out."""
    with pytest.raises(ValueError, match="6 wordings are too few to learn from; 8 are needed"):
        taught(world(questions(wordings=3, each=20)))


def graded(expert: str, key: str, said: str | None) -> Graded:
    """An answer; right where it says 0."""
    versions = {"expert_version": "v1", "engine_version": ""}
    return Graded(expert=expert, question=key, right=said == "0", output_tokens=1, said=said, **versions)


def test_what_a_measurement_kept_becomes_arrays() -> None:
    """Each question once, in the order of the file; experts in the order of their answers."""
    one, two = questions(wordings=1, each=1)
    calibration = Calibration([one, two, one], 16)
    first, second, _ = calibration.keys
    answers = {
        "bob": {first: graded("bob", first, "0"), second: graded("bob", second, "")},
        "ada": {second: graded("ada", second, "0"), first: graded("ada", first, "7")},
    }
    found = answered(calibration, answers)
    assert (found.questions, found.experts) == ([one, two], ("bob", "ada"))
    np.testing.assert_array_equal(found.right, [[1, 0], [0, 1]])
    np.testing.assert_array_equal(found.answers, [["0", "7"], ["", "0"]])


def test_answers_that_did_not_keep_what_was_said_are_refused() -> None:
    """Those of an earlier version can be counted, but nobody can tell who agreed with whom."""
    calibration = Calibration(questions(wordings=1, each=1), 16)
    first, second = calibration.keys
    kept = {first: graded("ada", first, "0"), second: graded("ada", second, None)}
    with pytest.raises(ValueError, match="earlier version"):
        answered(calibration, {"ada": kept})
