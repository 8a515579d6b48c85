"""`loadtest.panels`: the votes worked out by hand on small cases, what is read from files, and the figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from experts.recorded_book import AnswerBook
from loadtest.panels_data import (
    Files,
    Given,
    Item,
    Panel,
    book_rows,
    configuration,
    marked,
    policies,
    prompt,
    read,
    write_labelled,
)
from loadtest.panels_figures import Heard, compare, disagreements, heard, report, rule
from loadtest.panels_offline import Rule, Simulated, Votes, simulate
from loadtest.recorded_world import RecordedServer, write_book
from router.config import Config
from router.questions import read as read_labelled

P = {"ant": 0.7, "bee": 0.6, "cat": 0.5}
ALL = Rule((3,), 2.0, None)


def votes(letters: str, p: Mapping[str, float] = P) -> Votes:
    """One letter for each expert; "-": none."""
    return Votes({e: letter.strip("-") for e, letter in zip(p, letters, strict=True)}, p, 2.0)


def simulated(letters: str, rule: Rule = ALL, arrival: tuple[str, ...] = ()) -> Simulated:
    return simulate(rule, list(P), votes(letters).letters, P, arrival)


def test_a_vote_adds_the_log_odds_of_its_expert() -> None:
    """P = 0.6 against two wrong answers: log 3; certainty is clamped, and no vote speaks against its own answer."""
    assert votes("AAA").weight("bee") == pytest.approx(math.log(3))
    assert votes("A", {"ant": 1.0}).weight("ant") == pytest.approx(math.log(98))
    assert votes("A", {"ant": 0.0}).weight("ant") == 0.01


def test_the_posterior_is_a_softmax_over_seen_and_unseen_answers() -> None:
    """Odds 3 for A, 2 for B, one unseen answer left of three; with more seen than three there is still one."""
    assert votes("-AB").posterior(["ant", "bee", "cat"]) == pytest.approx(3 / (3 + 2 + 1))
    assert votes("-A-").posterior(["bee"]) == pytest.approx(3 / (3 + 2))
    assert votes("---").posterior(["ant", "bee", "cat"]) == 0
    many = votes("ABCD", {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5})
    assert many.posterior(list(many.p)) == pytest.approx(2 / (4 * 2 + 1))


def test_the_weightiest_letter_wins_in_its_most_trusted_expert_s_words() -> None:
    """log 14/3 for A against log 3 + log 2 for B; where all are equal, more voices win."""
    assert (simulated("ABB").letter, simulated("ABB").expert) == ("B", "bee")
    sure = {"ant": 0.9, "bee": 0.6, "cat": 0.5}
    assert simulate(ALL, list(sure), votes("ABB").letters, sure).letter == "A"
    assert simulate(Rule((3,), 2.0, None, equal=True), list(sure), votes("ABB").letters, sure).letter == "B"
    assert simulated("-B-").letter == "B"
    assert simulated("---") == Simulated("", "ant", ("ant", "bee", "cat"), 3)


def test_a_tie_goes_to_more_trust_and_then_to_the_alphabet() -> None:
    """Below the least weight all votes weigh the same."""
    weak = {"ant": 0.02, "bee": 0.3}
    assert simulate(Rule((2,), 2.0, None), list(weak), {"ant": "A", "bee": "B"}, weak).letter == "B"
    even = {"ant": 0.3, "bee": 0.3}
    assert simulate(Rule((2,), 2.0, None), list(even), {"ant": "B", "bee": "A"}, even).letter == "A"


@pytest.mark.parametrize(
    ("letters", "bound", "arrival", "heard"),
    [
        ("AAB", 1.0, "ant bee cat", "ant bee"),  # log 14 is beyond the reach of log 2
        ("ABB", 1.0, "ant bee cat", "ant bee cat"),  # log 14/9 is not
        ("ABA", 0.7, "ant bee cat", "ant"),  # 14/3 of 14/3 + 2: sure
        ("BAA", 0.7, "cat bee ant", "cat bee"),  # 6 of 6 + 2
        ("BAA", 0.8, "bee ant cat", "bee ant cat"),
        ("AAA", None, "ant bee cat", "ant bee cat"),
    ],
)
def test_a_vote_ends_when_it_is_sure_or_beyond_reach(
    letters: str, bound: float | None, arrival: str, heard: str
) -> None:
    """Counted after each reply, in the order of their coming; all three were asked."""
    found = simulated(letters, Rule((3,), 2.0, bound), tuple(arrival.split()))
    assert (found.heard, found.asked) == (tuple(heard.split()), 3)


def test_a_wave_is_asked_only_while_it_is_undecided() -> None:
    """One after the other: who is never asked costs nothing; the last wave takes all that are left."""
    one_by_one = Rule((1, 1, 1), 2.0, 0.98)
    assert [simulated(letters, one_by_one).asked for letters in ("AAB", "ABA")] == [2, 3]
    assert Rule((2, 1), 2.0, 0.9).seated(list("abcde")) == [["a", "b"], ["c", "d", "e"]]
    assert Rule((1, 1, 1), 2.0, 0.9).seated(["a", "b"]) == [["a"], ["b"]]
    found = simulated("ABA", Rule((1, 2), 2.0, 0.98), ("cat", "ant", "bee"))
    assert (found.heard, found.asked) == (("ant", "cat"), 3)


ANSWERS = ("answer_text", "out_tokens")


def rows(cells: Iterable[tuple[Any, ...]], *columns: str) -> pa.Table:
    names = ("question_id", "model", *columns)
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in cells])


def files(folder: Path) -> Files:
    """Five questions, two models; the third lacks an answer, the last two are disputed or there twice."""
    questions = {
        "question_id": [1, 2, 3, 4, 5],
        "category": ["law", "law", "maths", "law", "law"],
        "question": ["Who?", "Why?", "What?", "Whose?", "Who?"],
        "options": [["he", "she"]] * 5,
        "gold": ["A", "B", "A", "A", "A"],
        "rev_open": [False, False, False, True, False],
    }
    outcomes = [(i, m, "A" if (i + len(m)) % 2 else None) for i in range(1, 6) for m in ("ox", "cow")]
    answers = [(i, m, f"{m} says {i}", 10 * i) for i in range(1, 6) for m in ("ox", "cow") if (i, m) != (3, "cow")]
    tables = {"questions": pa.table(questions), "outcomes": rows(outcomes, "pred"), "answers": rows(answers, *ANSWERS)}
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return Files(*(folder / f"{name}.parquet" for name in tables))


def test_a_panel_is_read_from_files(tmp_path: Path) -> None:
    """Disputed and repeated questions are left out, and those that a model did not answer; the seed splits."""
    found = read(files(tmp_path), ["ox", "cow"], 2, (1, 1), seed=0)
    items = {item.text: item for item in (*found.training, *found.test)}
    assert items.keys() == {"Who?\nA. he\nB. she", "Why?\nA. he\nB. she"}
    assert items["Who?\nA. he\nB. she"].given == {"ox": Given("A", "ox says 1", 10), "cow": Given("", "cow says 1", 10)}
    assert read(files(tmp_path), ["ox", "cow"], 2, (1, 1), seed=0) == found
    assert read(files(tmp_path), None, 8, (1, 1), seed=0).models == ("ox",), "only one has answered everything"
    assert len(read(files(tmp_path), None, 8, (1, 2), seed=0).test) == 2
    assert prompt(" One? ", ["x"]) == "One?\nA. x"


def test_what_is_no_panel_is_said(tmp_path: Path) -> None:
    """Too few questions, a model without answers, a column that is missing."""
    with pytest.raises(ValueError, match="2 questions with answers of all models, but 1 \\+ 2 are wanted"):
        read(files(tmp_path), ["ox", "cow"], 2, (1, 2), seed=0)
    with pytest.raises(ValueError, match="no recorded answers of yak; there are cow, ox"):
        read(files(tmp_path), ["yak"], 2, (1, 1), seed=0)
    pq.write_table(pa.table({"question_id": [1]}), tmp_path / "outcomes.parquet")
    with pytest.raises(ValueError, match="no column model, pred"):
        read(Files(*(tmp_path / f"{n}.parquet" for n in ("questions", "outcomes", "answers"))), None, 2, (1, 1), 0)


def item(number: int = 0, letters: str = "AAB", gold: str = "A") -> Item:
    given = {e: Given(letter.strip("-"), f"{e}: {letter}", 10) for e, letter in zip(P, letters, strict=True)}
    return Item(f"question {number}", gold, "law", given)


def told(expert: str = "ant", text: str = "ant: A", **more: Any) -> Heard:
    usual: dict[str, Any] = {
        "p_correct": P,
        "abstained": False,
        "answered": tuple(P),
        "cut": {},
        "asked": 3,
        "output_tokens": 30,
        "posterior": 0.9,
        "seconds": 0.5,
    }
    return Heard(expert, text, **usual | more)


def test_book_and_labels_are_what_the_product_reads(tmp_path: Path) -> None:
    """The book's rows are found by recorded experts, the configuration and its policies are valid."""
    panel = Panel(tuple(P), (item(0),), (item(1),))
    write_book(tmp_path / "book.parquet", book_rows(panel))
    book = AnswerBook.from_parquet(tmp_path / "book.parquet")
    assert set(book.models) == set(P)
    answer = book.find("bee", "question 1")
    assert answer is not None
    assert (answer.text, answer.tokens) == ("bee: A", 10)
    raw = configuration(panel, RecordedServer("http://127.0.0.1:1"), policies(3), 2.0)
    config = Config.model_validate(yaml.safe_load(yaml.safe_dump(raw)))
    assert config.policies["waves-2"].waves == (2, 1)
    assert [config.policies[n].decided_at for n in ("all", "early")] == [None, 0.98]


def test_labelled_questions_can_be_read_back(tmp_path: Path) -> None:
    """`symposium fit` and `profile` read them, with the right letter as the answer."""
    write_labelled(tmp_path / "q.jsonl", [item()])
    (found,) = read_labelled(tmp_path / "q.jsonl")
    assert (found.question, found.category, found.answer) == ("question 0", "law", "A")


def test_a_question_is_clear_where_texts_say_what_is_recorded() -> None:
    """The last letter that each text marks is the recorded one; a text that was cut, or goes on to another, is none."""
    clear = {"ant": Given("A", "So the answer is (A). The answer is A.", 9), "bee": Given("B", "The answer is: B", 3)}
    assert Item("?", "A", "law", clear).clear
    for unclear in (Given("A", "The answer is (A). The answer is (B).", 9), Given("A", "I think", 2), Given("", "", 0)):
        assert not Item("?", "A", "law", clear | {"cat": unclear}).clear


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("The answer is (C).", "C"),
        ("The answer is:\nJ. an internal locus", "J"),
        ("The answer is (A) and (B).", "A) and (B"),
        ("The answer is (B, F, I).", "B, F, I"),
        ("The answer is (A). The answer is B.", "B"),
        ("The answer is a lot.", "a"),
        ("The answer is Denmark.", None),
    ],
)
def test_a_mark_names_a_letter_or_several(text: str, named: str | None) -> None:
    """Several letters are not one: such a text says no recorded letter."""
    assert marked(text) == named


def test_a_policy_becomes_a_rule() -> None:
    """The default bound where the policy is silent; one expert is no vote."""
    found = {name: rule(policy, 3, 2.0, 0.98) for name, policy in policies(3).items()}
    assert found["single"] == Rule((1,), 2.0, None)
    assert (found["all"], found["majority"]) == (ALL, Rule((3,), 2.0, None, equal=True))
    assert found["early"] == Rule((3,), 2.0, 0.98)
    assert found["waves-1"] == Rule((1, 1, 1), 2.0, 0.98)


def test_a_completion_becomes_what_was_heard() -> None:
    """Calls that were cut count as asked, not as answered; those that answered stand in the order of their times."""

    def leg(expert: str, outcome: str, seconds: float, role: str = "answer") -> dict[str, Any]:
        usage = {"completion_tokens": 7}
        return {"expert": expert, "role": role, "outcome": outcome, "seconds": seconds, "usage": usage}

    completion = {
        "choices": [{"message": {"content": "A."}}],
        "symposium": {
            "answered_by": "ant",
            "abstained": "unfamiliar",
            "candidates": [{"expert": e, "p_correct": p} for e, p in P.items()],
            "legs": [leg("ant", "answered", 0.2), leg("bee", "answered", 0.1), leg("cat", "cut", 0.2)],
            "vote": {"share": 1, "posterior": 0.97, "answers": []},
        },
    }
    found = heard(completion, 0.3)
    assert found == Heard("ant", "A.", P, True, ("bee", "ant"), {"cat": 0.2}, 3, 21, 0.97, 0.3)
    assert found.order("cat") == ("cat", "ant", "bee")
    assert told().order("cat") == ("ant", "bee", "cat")


def test_server_and_offline_are_compared_by_recorded_letters() -> None:
    """The words that came are graded by the letter recorded for who said them; differences are shown with causes."""
    panel = Panel(tuple(P), (item(9),), (item(0), item(1, "ABB", "B"), item(2, "B--", "A")))
    answers = [told(), told(asked=2), told("ant", "ant: B and more")]
    compared = {"all": compare(panel, answers, ALL), "early": compare(panel, answers, ALL)}
    found = report(panel, compared, seed=0)
    row = found["policies"]["all"]
    assert (row["accuracy"], row["accuracy_offline"]) == (0.3333, 0.6667)
    assert (row["difference_points"], row["within"]) == (-33.333, False)
    assert (row["letters_differ"], row["texts_differ"], row["calls_differ"]) == (1, 1, 1)
    assert row["calls_per_question"] == 2.667
    assert row["clear"] == {"questions": 0}
    assert found["early_against_all"]["early"]["points"] == 0
    assert found["models"]["ant"] == 0.3333
    assert found["oracle"] == 0.6667
    assert [d["question"] for d in disagreements({"all": compared["all"]})] == ["question 1", "question 2"]


def test_what_a_cut_call_generated_is_reckoned_by_its_pace() -> None:
    """Ten tokens were heard, two more generated in 0.1 s, and of ten no more than ten; without a pace nobody knows."""
    panel = Panel(tuple(P), (item(9),), (item(0),))
    answers = [told(answered=("ant",), cut={"bee": 0.1, "cat": 60.0})]
    rows = {"early": compare(panel, answers, ALL)}
    assert report(panel, rows, 0, 20)["policies"]["early"]["generated_tokens_per_question"] == 10 + 2 + 10
    assert report(panel, rows, 0)["policies"]["early"]["generated_tokens_per_question"] is None
