"""The journal of a profile run: every whole line holds, whatever the run's end was."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.calibration import Graded
from router.journal import open_journal, partial_path


def graded(expert: str, question: str, text: str | None = None) -> Graded:
    return Graded(
        expert=expert,
        expert_version="v",
        engine_version="e",
        question=question,
        right=True,
        output_tokens=1,
        text=text,
    )


def test_answers_are_in_the_file_at_once(tmp_path: Path) -> None:
    """Before the journal is closed: a killed process loses none. The next run finds them in order."""
    path = partial_path(tmp_path / "made" / "profiles.json")
    assert path.name == "profiles.json.partial.jsonl"
    with open_journal(path) as journal:
        assert journal.answers == ()
        journal.add(graded("ada", "1"))
        journal.add(graded("bob", "1"))
        assert len(path.read_text().splitlines()) == 2
    with open_journal(path) as journal:
        assert journal.answers == (graded("ada", "1"), graded("bob", "1"))


@pytest.mark.parametrize("torn", ['{"expert": "ada", "exp', graded("ada", "2").model_dump_json()])
def test_a_torn_last_line_is_ignored(tmp_path: Path, torn: str) -> None:
    """A line without its end was being written; the next answer gets a line of its own."""
    path = tmp_path / "partial.jsonl"
    path.write_text(graded("ada", "1").model_dump_json() + "\n" + torn)
    with open_journal(path) as journal:
        assert journal.answers == (graded("ada", "1"),)
        journal.add(graded("ada", "3"))
    with open_journal(path) as journal:
        assert journal.answers == (graded("ada", "1"), graded("ada", "3"))


def test_another_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """Whole lines that are no answers are not passed over: --restart drops them."""
    path = tmp_path / "partial.jsonl"
    path.write_text('{"x": 1}\n')
    with pytest.raises(ValueError, match=r"partial.jsonl:1: not an answer.*--restart"), open_journal(path):
        pass
    with open_journal(path, restart=True) as journal:
        assert journal.answers == ()


def test_two_runs_do_not_write_to_one_journal(tmp_path: Path) -> None:
    """The second is refused as long as the first goes on."""
    path = tmp_path / "partial.jsonl"
    with open_journal(path), pytest.raises(ValueError, match="another `symposium profile`"), open_journal(path):
        pass


def test_experts_that_are_done_leave_the_journal(tmp_path: Path) -> None:
    """The others' answers stay for their own run; with the last expert the file goes."""
    path = tmp_path / "partial.jsonl"
    with open_journal(path) as journal:
        journal.add(graded("ada", "1"))
        journal.add(graded("bob", "1"))
        journal.close_for({"ada"})
    with open_journal(path) as journal:
        assert journal.answers == (graded("bob", "1"),)
        journal.close_for({"bob"})
    assert list(tmp_path.iterdir()) == []


def test_texts_stay_as_long_as_somebody_is_to_read_them(tmp_path: Path) -> None:
    """Aggregators read what experts said: one that is done, though it was among them, leaves it to the others."""
    path = tmp_path / "partial.jsonl"
    with open_journal(path) as journal:
        for answer in (graded("ada", "1", "one"), graded("ada", "panel"), graded("bob", "panel")):
            journal.add(answer)
        journal.close_for({"ada"})
    with open_journal(path) as journal:
        assert journal.answers == (graded("ada", "1", "one"), graded("bob", "panel"))
        journal.close_for({"bob"})
    assert not path.exists()


def test_each_measurement_has_a_journal_of_its_own(tmp_path: Path) -> None:
    """A profile run that was cut off is not ended by another kind of run."""
    path = tmp_path / "profiles.json"
    assert partial_path(path, "aggregators").name == "profiles.json.aggregators.partial.jsonl"
    with open_journal(partial_path(path)), open_journal(partial_path(path, "aggregators")) as journal:
        assert journal.answers == ()


def test_a_run_that_got_nowhere_leaves_no_file(tmp_path: Path) -> None:
    """As when nobody answers at the address."""
    path = tmp_path / "partial.jsonl"
    with pytest.raises(OSError, match="nobody"), open_journal(path):
        raise OSError("nobody")
    assert not path.exists()
