"""The benchmark of a confidently wrong expert: what it says, whom it sits with, how the figures are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from experts.recorded_book import AnswerBook
from loadtest.liar import show, write_rows
from loadtest.liar_figures import Compared, Heard, compare, core, heard, report
from loadtest.liar_world import (
    CALIBRATION,
    CONFIG,
    MANNERS,
    OUTPUT_TOKENS,
    PANELS,
    book_rows,
    hows,
    lies,
    policies,
    write_configuration,
    write_questions,
)  # fmt: skip
from loadtest.recorded_world import RecordedServer, write_book
from loadtest.routing_figures import Resampling
from loadtest.routing_records import Question, read
from router.answers import extract
from router.config_file import load
from router.profiles import Profiles
from router.questions import read as read_labelled


def question(text: str, answer: str, skill: str = "sum") -> Question:
    return Question(text, answer, "math", skill, group=f"{skill}/{text}")


SUMS = [question("1 + 1?", "2"), question("2 + 2?", "4"), question("4 + 0?", " 4. ")]
LONELY = question("Odd?", "odd", "parity")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("42", "42"),
        ("  Oslo. ", "oslo"),
        ("I am absolutely certain. The answer is 15:10.", "15:10"),
        ("The answer is 3.\nNo: the ANSWER is: 4!", "4"),
        ("The answer is yes\nand that is all", "yes"),
        ("It is 4, the answer is", "it is 4, the answer is"),
    ],
)
def test_an_answer_is_the_last_marked_one(text: str, said: str) -> None:
    """Without a mark it is all that was said; case, blanks and closing punctuation do not matter."""
    assert core(text) == said


def test_a_lie_is_another_answer_of_the_same_kind() -> None:
    """Never the right one, however it is spelled; the seed alone decides; no lie, no question."""
    told = lies([*SUMS, LONELY], 0)
    assert told.keys() == {q.text for q in SUMS}
    assert told["1 + 1?"] in ("4", " 4. ")
    assert (told["2 + 2?"], told["4 + 0?"]) == ("2", "2")
    assert lies([LONELY, *reversed(SUMS)], 0) == told


def test_the_zoo_can_be_lied_about() -> None:
    """Every question that profiles are measured on has a lie, which the router too takes for wrong, in any manner."""
    known = read(CALIBRATION)
    told = lies(known, 0)
    assert told.keys() == {q.text for q in known}
    right = {q.text: q.answer for q in known}
    for asked, _, said, _ in book_rows(told):
        assert core(said) == core(told[asked]) != core(right[asked])
        assert extract(said) == extract(told[asked]) != extract(right[asked])


def test_a_liar_s_book_is_what_recorded_experts_read(tmp_path: Path) -> None:
    """One model for each manner of lying."""
    write_book(tmp_path / "book.parquet", book_rows(lies(SUMS, 0)))
    book = AnswerBook.from_parquet(tmp_path / "book.parquet")
    assert set(book.models) == set(MANNERS)
    answer = book.find("certain", "2 + 2?")
    assert answer is not None
    assert (answer.text, answer.tokens) == ("I am absolutely certain. The answer is 2.", OUTPUT_TOKENS)


def test_the_configuration_is_the_quickstart_s_with_liars(tmp_path: Path) -> None:
    """It is valid; the profiles are a copy, in which nothing is known of the liars; fixed panels of three."""
    compared = policies(list(PANELS), list(MANNERS))
    assert len(compared) == len(PANELS) * len(MANNERS) * len(hows())
    config = load(write_configuration(tmp_path, CONFIG, RecordedServer("http://127.0.0.1:1"), compared))
    assert set(MANNERS) < set(config.answering)
    assert Path(config.routing.profiles) == tmp_path / "profiles.json"
    assert not set(MANNERS) & set(Profiles.load(tmp_path / "profiles.json").experts)
    read_all = config.policies["mixed-steering-read-all-equal"]
    assert read_all.experts == (*PANELS["mixed"], "steering")
    assert (read_all.aggregate, read_all.decided_at, read_all.votes) == ("synthesize", None, "equal")
    assert config.policies["broad-certain-vote-predicted"].decided_at is not None


def test_questions_are_written_as_profiling_reads_them(tmp_path: Path) -> None:
    """With the right answers: the liar's are graded like anybody's."""
    write_questions(tmp_path / "q.jsonl", SUMS[:1])
    (found,) = read_labelled(tmp_path / "q.jsonl")
    assert (found.question, found.answer, found.category, tuple(found.skills)) == ("1 + 1?", "2", "math", ("sum",))


def test_a_completion_becomes_what_was_heard() -> None:
    """The words, who said them, and how they came to be the answer."""
    completion: dict[str, Any] = {
        "choices": [{"message": {"content": None}}],
        "symposium": {"answered_by": "general", "aggregated": "vote", "why": "agreed"},
    }
    assert heard(completion) == Heard("", "general", "vote", "agreed")
    with pytest.raises(LookupError):
        heard({"choices": []})


TOLD = {"1 + 1?": "4", "2 + 2?": "2", "4 + 0?": "2"}
SPEAKING = [Heard("2", "ant", "vote", "vote"), Heard("The answer is 2.", "certain", "vote", "vote"), Heard(failed="x")]
SILENT = [Heard("3", "ant", "vote", "vote"), Heard("4", "ant", "vote", "vote"), Heard("4", "ant", "vote", "vote")]


def test_speaking_and_silent_are_compared_question_by_question() -> None:
    """One gained, two lost, of which one repeats the lie and one failed."""
    draws = Resampling.of([q.group for q in SUMS], 0)
    found = compare(SUMS, TOLD, Compared(SPEAKING, SILENT), draws)
    assert (found["accuracy"], found["accuracy_silent"], found["points"]) == (0.3333, 0.6667, -33.33)
    assert (found["gained"], found["lost"], found["repeated"], found["failed"]) == (1, 2, 1, 1)
    assert found["interval"][0] <= -33.33 <= found["interval"][1]
    assert not found["within"]
    assert found["made_by"] == {"vote (vote)": 2}


def test_cases_over_the_bound_are_named(tmp_path: Path) -> None:
    """The report names them, a person sees them, and every answer can be read again."""
    pairs = {"measured": {"vote": Compared(SPEAKING, SILENT), "consensus": Compared(SILENT, SILENT)}}
    figures = report(SUMS, TOLD, pairs, seed=0)
    assert figures["over"] == ["measured: vote"]
    assert figures["cases"]["measured"]["consensus"]["interval"] == [0, 0]
    console = Console(record=True, width=140)
    show(figures, console)
    assert "costs more than 1 point in 1 of 2 cases" in console.export_text()
    write_rows(tmp_path / "rows.jsonl", SUMS, pairs)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert (rows[1]["liar"], rows[1]["expert"], rows[1]["question"]["answer"]) == ("speaking", "certain", "4")
    assert yaml.safe_load(json.dumps(figures)) == figures
