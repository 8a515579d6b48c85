"""The figures of `loadtest.routing`, worked out by hand on small cases, and its pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from loadtest.routing import configuration, policies
from loadtest.routing_figures import Resampling, classifier, correctness, gap_closed, named, reliability, report
from loadtest.routing_pictures import draw
from loadtest.routing_records import Explained, Question, Reply, heard, is_right, read, spread

SKILLS = {"adding": "sums", "halving": "sums", "capitals": "places"}


def question(number: int = 0, skill: str = "adding") -> Question:
    return Question(f"{skill} {number}?", "1", SKILLS[skill], skill, f"{skill}/{number % 2}")


def explained(**given: Any) -> Explained:
    usual: dict[str, Any] = {
        "category": "sums",
        "confidence": 0.9,
        "abstained": None,
        "skill": "adding",
        "skills_from": "embedding",
        "p_correct": {},
        "called": (),
    }
    return Explained(**usual | given)


def replies(right: str, **given: Any) -> list[Reply]:
    """One reply for each digit: 1 is right."""
    return [Reply(right=digit == "1", tokens=10, explained=explained(**given)) for digit in right]


def small_report(seed: int = 0) -> dict[str, Any]:
    """Six questions, two experts, three policies."""
    questions = [question(i, skill) for skill in SKILLS for i in range(2)]
    sure = {"p_correct": {"ant": 0.9, "bee": 0.4}}
    return report(
        questions,
        {"ant": replies("111100"), "bee": replies("000010")},
        {
            "best-single": replies("110000", called=("ant",)),
            "recruited-3": replies("111000", called=("ant", "bee", "keywords"), **sure),
            "keywords-3": replies("111110", called=("ant",), skill=None),
        },
        seed,
    )


@pytest.mark.parametrize(
    ("said", "wanted", "right"),
    [
        (" 13.\n", "13", True),
        ("Yes!", "yes", True),
        ("New   york", "New York", True),
        ("The answer is 13.", "13", False),
        ("", "13", False),
        ("-13", "13", False),
        ("1.3", "13", False),
    ],
)
def test_an_answer_is_right_when_its_bare_text_is(said: str, wanted: str, right: bool) -> None:
    """Case, blanks and closing punctuation do not matter; everything else does."""
    assert is_right(said, wanted) is right


def test_an_interval_over_single_wordings_is_the_known_one() -> None:
    """Of many draws of one wording each, the share of a wording's draws is its share of the wordings."""
    draws = Resampling.of(["a", "b", "b"], seed=1, draws=20_000)
    means = draws.means(np.array([1.0, 0, 0]))
    # Draws of two wordings: aa (1/4) all right, ab (1/2) one of three right, bb (1/4) none.
    values, counts = np.unique(means.round(6), return_counts=True)
    assert values == pytest.approx([0, 1 / 3, 1], abs=1e-6)
    assert counts / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_an_interval_holds_its_point_and_narrows_with_more_wordings() -> None:
    """95 % intervals lie around the mean; ten times the wordings, a third of the width."""
    widths = []
    for wordings in (30, 300):
        values = np.arange(wordings) % 3 == 0
        low, high = Resampling.of([str(i) for i in range(wordings)], seed=0).interval(values.astype(float))
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(10**0.5, rel=0.15)


def test_questions_of_one_wording_count_as_one() -> None:
    """Ten copies of every wording leave the interval as wide as it was."""
    values = (np.arange(20) % 2).astype(float)
    names = [str(i) for i in range(20)]
    once = Resampling.of(names, seed=0).interval(values)
    tenfold = Resampling.of(names * 10, seed=0).interval(np.tile(values, 10))
    assert once == tenfold


def test_one_seed_gives_one_report() -> None:
    """The same seed, the same report; another seed moves intervals and nothing else."""
    first, again, other = small_report(5), small_report(5), small_report(6)
    assert first == again
    assert [r["accuracy"] for r in first["policies"].values()] == [r["accuracy"] for r in other["policies"].values()]


def test_a_policy_is_compared_with_the_baseline_and_the_oracle() -> None:
    """Oracle 5 of 6, baseline 2, recruited 3: one of the three questions between them is won."""
    found = small_report()
    assert found["oracle"]["accuracy"] == pytest.approx(5 / 6, abs=1e-4)
    recruited = found["policies"]["recruited-3"]
    assert recruited["accuracy"] == 0.5
    assert recruited["difference"] == pytest.approx(1 / 6, abs=1e-4)
    assert recruited["gap_closed"] == pytest.approx(1 / 3, abs=1e-4)
    assert recruited["experts_called"] == 2, "the keyword expert answers no question"
    assert recruited["tokens_per_query"] == 10
    baseline = found["policies"]["best-single"]
    assert (baseline["difference_interval"], baseline["gap_closed"]) == ([0, 0], 0)
    best = found["best_by_hindsight"]
    assert (best["expert"], best["accuracy"], best["below_oracle"]) == ("ant", 0.6667, 0.1667)


def test_no_gap_is_closed_where_there_is_none() -> None:
    """A baseline as good as the oracle leaves nothing to close: no figure, no division by zero."""
    ones, draws = np.ones(4), Resampling.of(["a", "b", "c", "d"], seed=0)
    assert gap_closed(ones, ones, ones, draws) == {}


def test_experts_and_skills_make_a_matrix() -> None:
    """A row for each expert, a column for each skill with its count, categories side by side."""
    found = small_report()["experts_skills"]
    assert found["experts"] == ["ant", "bee"]
    assert [(c["skill"], c["category"], c["asked"]) for c in found["skills"]] == [
        ("adding", "sums", 2),
        ("halving", "sums", 2),
        ("capitals", "places", 2),
    ]
    assert found["accuracy"] == [[1, 1, 0], [0, 0, 0.5]]
    assert found["overall"] == [0.6667, 0.1667]


def test_the_calibration_error_is_the_weighted_distance_from_the_diagonal() -> None:
    """Two of four said 0.95 and half came true, two said 0.25 and none did: (0.45 + 0.25) / 2."""
    found = reliability(np.array([0.95, 0.95, 0.25, 0.25]), np.array([1.0, 0, 0, 0]))
    assert found["ece"] == pytest.approx(0.35)
    assert found["bins"] == [
        {"from": 0.2, "to": 0.3, "count": 2, "predicted": 0.25, "measured": 0},
        {"from": 0.9, "to": 1.0, "count": 2, "predicted": 0.95, "measured": 0.5},
    ]
    assert reliability(np.array([1.0, 0]), np.array([1.0, 0]))["ece"] == 0


def test_the_classifier_is_judged_where_it_spoke() -> None:
    """Accuracy counts every classified question, `acted_on` only those it did not abstain from."""
    questions = [question(0), question(1), question(0, "capitals"), question(1)]
    heard_of = [explained(), explained(), explained(abstained="unsure", confidence=0.4), None]
    found = classifier(questions, heard_of)
    assert found is not None
    assert (found["classified"], found["accuracy"], found["abstained"]) == (3, 0.6667, 0.3333)
    assert (found["accuracy_acted_on"], found["abstained_why"]) == (1, {"unsure": 1})
    assert classifier(questions, [None] * 4) is None


def test_predicted_correctness_is_judged_over_all_pairs() -> None:
    """Brier: (0.1² + 0.4² + 0.2² + 0.5²) / 4; experts that answer no question are no pair."""
    right = {"ant": np.array([1.0, 0]), "bee": np.array([0.0, 1])}
    told = [explained(p_correct={"ant": 0.9, "bee": 0.4, "stranger": 1}), explained(p_correct={"ant": 0.2, "bee": 0.5})]
    found = correctness(right, told)
    assert found is not None
    assert (found["pairs"], found["base_rate"], found["brier_of_base_rate"]) == (4, 0.5, 0.25)
    assert found["brier"] == pytest.approx(0.115)


def test_skills_agree_when_the_weightiest_is_the_true_one() -> None:
    """No skill named is no agreement, and said apart."""
    questions = [question(0), question(1), question(0, "halving")]
    found = named(questions, [explained(), explained(skill=None), explained(skills_from="keywords")])
    shares = {"agreement": 0.3333, "none_named": 0.3333}
    assert found == {"explained": 3, "found_by": {"embedding": 2, "keywords": 1}, **shares}


def test_a_failed_request_is_a_wrong_answer_and_is_said() -> None:
    """It counts against the model that did not answer, with its reason."""
    found = report([question()], {"ant": [Reply(failed="HTTP 503")]}, {"solo": replies("1", called=("ant",))}, 0)
    assert found["best_by_hindsight"]["accuracy"] == 0
    assert found["failed"] == {"requests": 1, "of": 2, "reasons": {"ant": {"HTTP 503": 1}}}
    assert "difference" not in found["policies"]["solo"], "there is no baseline to compare with"


def test_a_reply_is_read_from_a_completion() -> None:
    """Text, tokens of all experts, and of the explanation what the figures need."""
    completion = {
        "choices": [{"message": {"content": "13."}}],
        "usage": {"total_tokens": 40},
        "symposium": {
            "categories": {"places": 0.2, "sums": 0.8},
            "abstained": None,
            "skills": {"adding": 0.7, "halving": 0.3},
            "skills_from": "embedding",
            "candidates": [{"expert": "ant", "p_correct": 0.6}],
            "plan": {"experts": ["ant"]},
            "legs": [
                {"expert": "namer", "role": "keywords"},
                {"expert": "ant", "role": "answer"},
                {"expert": "bee", "role": "answer"},
            ],
        },
    }
    reply = heard(completion, "13")
    assert (reply.right, reply.tokens) == (True, 40)
    assert reply.explained == explained(confidence=0.8, p_correct={"ant": 0.6}, called=("ant", "bee"))


def test_questions_are_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    """A question without a group is its own wording; a line that is none is an error with its number."""
    file, row = tmp_path / "q.jsonl", {"question": "1+0?", "answer": "1", "category": "sums", "skill": "adding"}
    file.write_text(json.dumps(row) + "\n\n" + json.dumps(row | {"group": "g"}) + "\n")
    assert [q.group for q in read(file)] == ["line 1", "g"]
    file.write_text(json.dumps(row) + "\n{}\n")
    with pytest.raises(ValueError, match="line 2"):
        read(file)


def test_a_limit_takes_from_the_whole_file() -> None:
    """The file is sorted by skill: its beginning would be one skill."""
    questions = [question(i) for i in range(10)]
    assert spread(questions, 3) == [questions[0], questions[3], questions[6]]
    assert spread(questions, None) == spread(questions, 99) == questions


def test_the_configuration_gets_the_policies_and_absolute_paths(tmp_path: Path) -> None:
    """Everything else stays as it was; what is not there stays as it was written."""
    (tmp_path / "weights").mkdir()
    config = tmp_path / "configs" / "some.yaml"
    config.parent.mkdir()
    config.write_text("engines: {e: {model: ../weights, args: {hub: some/model}}}\npolicies: {old: {}}\n")
    found = yaml.safe_load(configuration(config, policies()))
    assert found["engines"] == {"e": {"model": str(tmp_path / "weights"), "args": {"hub": "some/model"}}}
    assert found["policies"].keys() == policies().keys() >= {"auto", "best-single", "recruited-3", "keywords-3"}


def test_a_report_becomes_pictures(tmp_path: Path) -> None:
    """Three PNG files of a size for a page; no calibration where nothing was explained."""
    files = draw(small_report(), tmp_path)
    assert {f.name for f in files} == {"experts_skills.png", "calibration.png", "policies.png"}
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size < 300_000
    bare = report([question()], {"ant": replies("1")}, {"solo": replies("1", called=("ant",))}, 0)
    assert {f.name for f in draw(bare, tmp_path / "bare")} == {"experts_skills.png", "policies.png"}
