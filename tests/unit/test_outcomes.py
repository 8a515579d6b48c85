"""Recorded outcomes: parquet files in, matrices out; what is left out and what stands in is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from loadtest.panels_data import prompt as benchmark_prompt
from router.calibration import MAX_CORE_CHARS
from router.outcome_costs import Model, price
from router.outcome_questions import prompt
from router.outcomes import profiles_of, read
from router.profiles import Count
from tests.unit.make_outcomes import EXPERTS, PRICES, asked, recorded, world, written


def test_two_files_become_matrices(tmp_path: Path) -> None:
    """One row a question and one column an expert, in the order of file and pool; ids are texts."""
    found, notes = world(tmp_path, models=PRICES, pool=("cat", "ada"))
    assert (found.ids, found.experts, len(found)) == (tuple("01234"), ("cat", "ada"), 5)
    assert found.right.tolist() == [[0, 1]] * 5
    assert found.answers is not None
    assert found.answers.tolist() == [["B", "A"]] * 5
    assert found.tokens is not None
    assert found.tokens.tolist() == [[300, 100]] * 5
    assert found.categories == ("math", "law", "math", "law", "math")
    assert (found.usd_from, notes) == ("prices", ())
    assert found.usd[1] == pytest.approx([(20 * 100 + 300 * 200) / 1e6, (20 * 1 + 100 * 2) / 1e6])
    assert world(tmp_path)[0].experts == EXPERTS, "without a pool it is everybody, by name"


def test_some_questions_of_them(tmp_path: Path) -> None:
    """`only` takes rows in the order they are named, of everything that has rows."""
    whole, _ = world(tmp_path)
    some = whole.only(np.array([3, 0]))
    assert (some.ids, some.texts, some.categories, some.groups) == (
        ("3", "0"), ("Q3?", "Q0?"), ("law", "math"), ("q3?", "q0?"),
    )  # fmt: skip
    assert some.right.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert some.answers is not None
    assert some.answers.tolist() == [["A", "B", "B"], ["A", "A", "B"]]
    assert some.tokens is not None
    assert some.tokens.shape == some.usd.shape == (2, 3)
    assert some.experts == EXPERTS


def test_other_names_and_types_of_columns(tmp_path: Path) -> None:
    """An instruction is a question, a score an outcome; ids may be numbers here and texts there, names a dictionary."""
    questions = [{"question_id": n, "instruction": f"Do {n}.", "category": "c"} for n in range(3)]
    outcomes = pa.table(
        {
            "question_id": ["0", "0", "1", "1", "2", "2"],
            "model": pa.array(["ada", "bob"] * 3).dictionary_encode(),
            "score": pa.array([0.25, 1, 0.5, 0, 1, 0], pa.float32()),
        }
    )
    parquet.write_table(outcomes, tmp_path / "o.parquet")
    found, notes = read(written(tmp_path, "q", questions), tmp_path / "o.parquet", None, None, {})
    assert found.texts == ("Do 0.", "Do 1.", "Do 2.")
    assert found.right.tolist() == [[0.25, 1], [0.5, 0], [1, 0]]
    assert (found.answers, found.tokens, found.usd_from) == (None, None, "calls")
    assert found.usd.tolist() == [[1, 1]] * 3
    assert notes == ("every call costs 1: no output tokens are recorded",)


def test_right_or_wrong_may_be_a_truth_value(tmp_path: Path) -> None:
    """True is 1 and false is 0."""
    found, _ = world(tmp_path, outcomes=[row | {"correct": bool(row["correct"])} for row in recorded()])
    assert found.right.tolist()[:2] == [[1, 1, 0], [1, 0, 0]]


def test_profiles_are_counted_as_the_product_would(tmp_path: Path) -> None:
    """Whole answers, in all, by category and by skill: by hand, of five questions, three of them of maths."""
    found = profiles_of(world(tmp_path)[0], ["sums", "sums", "facts", "facts", "facts"]).experts
    assert tuple(found) == EXPERTS
    assert [found[name].overall for name in EXPERTS] == [Count(right=n, asked=5) for n in (5, 3, 0)]
    assert found["bob"].categories == {"law": Count(right=0, asked=2), "math": Count(right=3, asked=3)}
    assert found["bob"].skills == {"facts": Count(right=2, asked=3), "sums": Count(right=1, asked=2)}
    assert found["ada"].mean_output_tokens == 1
    assert profiles_of(world(tmp_path)[0]).experts["ada"].skills == {}


def test_a_score_counts_as_right_above_one_half(tmp_path: Path) -> None:
    """One rule, wherever an answer has to be right or wrong; counts are sums, rounded."""
    scores = [row | {"correct": (0.5, 0.51, 1.0)[number % 3]} for number, row in enumerate(recorded())]
    found, _ = world(tmp_path, outcomes=scores)
    assert found.whole.tolist() == [[False, True, True]] * 5
    assert [p.overall.right for p in profiles_of(found).experts.values()] == [2, 3, 5]


def test_options_are_asked_under_letters(tmp_path: Path) -> None:
    """One a line, as the benchmarks do; a question without options is asked as it is."""
    questions = asked()
    questions[0] |= {"question": " Which? ", "options": ["x", "y"]}
    found, _ = world(tmp_path, questions)
    assert found.texts[:2] == ("Which?\nA. x\nB. y", "Q1?")


@given(st.text(max_size=9), st.lists(st.text(max_size=5), max_size=10))
def test_the_benchmarks_ask_in_the_same_words(question: str, options: list[str]) -> None:
    """What is learnt offline is of the text that `loadtest.panels` asks."""
    assert prompt(question, options) == benchmark_prompt(question, options)


def test_one_wording_is_one_group(tmp_path: Path) -> None:
    """Case and blanks do not count, options neither."""
    questions = asked()
    questions[1] |= {"question": "Which  ONE?", "options": ["x"]}
    questions[3] |= {"question": " which one?\n", "options": ["y"]}
    found, _ = world(tmp_path, questions)
    assert found.groups == ("q0?", "which one?", "q2?", "which one?", "q4?")


def test_disputed_and_missing_questions_are_left_out(tmp_path: Path) -> None:
    """And said; their ids stay known, and their outcomes are no strangers."""
    questions = [row | {"rev_open": False, "question_missing": None} for row in asked(6)]
    questions[0] |= {"rev_open": True}
    questions[2] |= {"question_missing": True, "question": None}
    questions[5] |= {"question": " "}
    found, notes = world(tmp_path, questions, recorded(6), PRICES)
    assert (found.ids, found.left_out) == (("1", "3", "4"), frozenset("025"))
    assert notes == (
        "1 question left out: disputed answer key (rev_open)",
        "2 questions left out: no text",
    )


def test_questions_without_every_outcome_are_left_out(tmp_path: Path) -> None:
    """Up to a fifth; null is no outcome; outcomes of other questions are counted."""
    outcomes = [*recorded(12), recorded(1)[0] | {"question_id": 99}]
    outcomes[0] |= {"correct": None}
    del outcomes[4]
    found, notes = world(tmp_path, asked(12), outcomes, PRICES)
    assert found.ids == tuple(map(str, range(2, 12)))
    assert found.left_out == {"0", "1"}
    assert notes == (
        "2 of 12 questions left out: they lack an outcome of a pool member ('ada' lacks most: 1)",
        "1 outcome ignored: no such question_id among the questions",
    )
    found, _ = world(tmp_path, asked(12), outcomes, PRICES, pool=("ada", "cat"))
    assert len(found) == 11, "what bob lacks does not matter where he is not asked"


def test_filters_hold_for_the_tables_that_have_the_column(tmp_path: Path) -> None:
    """Texts, numbers and truth values; of both where both have it. What is filtered out is known all the same."""
    questions = [row | {"part": "ab"[n > 2], "hard": n % 2 == 0, "weight": n / 2} for n, row in enumerate(asked())]
    outcomes = [row | {"judge": judge, "part": "ab"[row["question_id"] > 2]} for row in recorded() for judge in "xy"]
    for where, ids in (
        ({"judge": "x"}, "01234"),
        ({"judge": "y", "part": "b"}, "34"),
        ({"judge": "x", "hard": "True"}, "024"),
        ({"judge": "x", "weight": "0.5"}, "1"),
        ({"judge": "x", "question_id": "2"}, "2"),
    ):
        found, notes = world(tmp_path, questions, outcomes, PRICES, where=where)
        assert (found.ids, notes) == (tuple(ids), ())
        assert found.left_out == set("01234").difference(ids)


def test_tokens_up_to_the_answer_count_before_all_tokens(tmp_path: Path) -> None:
    """`out_tokens_trim` is what an answer costs where both are there."""
    found, _ = world(tmp_path, outcomes=[row | {"out_tokens_trim": 7} for row in recorded()])
    assert found.tokens is not None
    assert set(found.tokens.flat) == {7}


def test_means_stand_in_for_counts_that_are_missing(tmp_path: Path) -> None:
    """An expert's own mean, the pool's where it has none, the questions' for input; said once for all."""
    questions = [row | {"q_tokens": None if n == 0 else 30} for n, row in enumerate(asked())]
    outcomes = recorded()
    outcomes[0] |= {"out_tokens": None}
    outcomes[3] |= {"out_tokens": 150}
    for row in outcomes[2::3]:
        row["out_tokens"] = None
    found, notes = world(tmp_path, questions, outcomes, PRICES)
    assert found.tokens is not None
    mean = (150 + 3 * 100 + 5 * 200) / 9
    assert found.tokens[0] == pytest.approx([112.5, 200, mean])
    assert found.usd[0] == pytest.approx([(30 + 225) / 1e6, (300 + 4000) / 1e6, (3000 + 200 * mean) / 1e6])
    assert notes == ("output tokens of 6 of 15 calls are not recorded: means stand in",)


@pytest.mark.parametrize(
    ("models", "usd_from", "first", "note"),
    [
        ("model,params_active_b,params_total_b\nada,1,9\nbob,,2\ncat,3,\n", "parameters", [11e-5, 42e-5, 93e-5],
         "costs stand in for USD (billions of active parameters × tokens / 1e6): no prices of ada, bob, cat"),
        (PRICES + "dan,,\n", "prices", [21e-5, 41e-4, 61e-3], None),
        (PRICES.replace("bob,10,", "bob,,"), "calls", [1, 1, 1],
         "every call costs 1: no prices of bob, no parameters of ada, bob, cat"),
        (None, "calls", [1, 1, 1], "every call costs 1: no prices of ada, bob, cat, no parameters of ada, bob, cat"),
    ],
)  # fmt: skip
def test_cost_is_in_the_best_measure_that_all_have(
    tmp_path: Path, models: str | None, usd_from: str, first: list[float], note: str | None
) -> None:
    """Prices, else active parameters, else calls; never one measure for some and another for others."""
    found, notes = world(tmp_path, models=models)
    assert found.usd_from == usd_from
    assert found.usd[0] == pytest.approx(first)
    assert notes == (() if note is None else (note,))


def test_cost_of_output_alone_is_said(tmp_path: Path) -> None:
    """Without input tokens, a price for them counts nothing."""
    found, notes = world(
        tmp_path, [{k: v for k, v in row.items() if k != "q_tokens"} for row in asked()], models=PRICES
    )
    assert found.usd[0] == pytest.approx([200 / 1e6, 4000 / 1e6, 60_000 / 1e6])
    assert notes == ("costs are of output tokens alone: the questions have no q_tokens",)


def test_many_names_are_not_all_listed() -> None:
    """A note is for a person: three names and how many more."""
    names = [f"m{n}" for n in range(5)]
    _, notes = price(names, None, np.ones((2, 5)), {"m0": Model(1, 1, 1)})
    assert notes == ["every call costs 1: no prices of m1, m2, m3 and 1 more, no parameters of m1, m2, m3 and 1 more"]


def test_long_answers_keep_their_equality_in_little_room(tmp_path: Path) -> None:
    """Blanks around do not count, null is no answer, and a page of text costs no more than a line."""
    outcomes = recorded()
    for row, text in zip(outcomes, ("x" * 20_000, "x" * 20_000 + "y", " " + "x" * 20_000, None, " B\n"), strict=False):
        row["pred"] = text
    found, _ = world(tmp_path, outcomes=outcomes)
    assert found.answers is not None
    one, other, same = found.answers[0].tolist()
    assert one == same != other
    assert max(map(len, found.answers.flat)) <= MAX_CORE_CHARS
    assert found.answers[1].tolist() == ["", "B", "B"]


def test_answers_compare_by_the_votes_own_measure(tmp_path: Path) -> None:
    """What would be one answer in a vote is one here, however it was written down."""
    outcomes = recorded()
    for row, text in zip(outcomes, ("1,000.0", "1e3", "The answer is 1000.", "(B)", "b.", "B"), strict=False):
        row["pred"] = text
    found, _ = world(tmp_path, outcomes=outcomes)
    assert found.answers is not None
    assert [len(set(row)) for row in found.answers[:2].tolist()] == [1, 1]


def test_answers_of_nobody_are_none(tmp_path: Path) -> None:
    """A column in which nothing was recorded is no column."""
    assert world(tmp_path, outcomes=[row | {"pred": ""} for row in recorded()])[0].answers is None
