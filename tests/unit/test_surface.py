"""The form of a question: every feature by hand, and bounds that hold for any text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.surface import FEATURES, MAX_CHARS, surface

QUIZ = "Which is NOT 2?\n(A) 1\nB. two\nC: 3 or 4\nD) x"
TEXTS = st.text(st.characters(codec=None), max_size=60)
# Of a text's form, what is a share of its characters or a yes or no.
SHARES = [
    FEATURES.index(name)
    for name in (
        "digits", "dollars", "backslashes", "operators", "blank", "negation", "which", "statement", "commas",
        "capitals", "choices_with_digits",
    )
]  # fmt: skip


def features(text: str) -> dict[str, float]:
    """A text's features by name."""
    return dict(zip(FEATURES, surface([text])[0].tolist(), strict=True))


def test_a_question_with_choices_by_hand() -> None:
    """Four choices of 5, 6, 9 and 4 characters, of which two hold digits beyond their letter; a first line of 15."""
    size = len(QUIZ) + 1
    assert features(QUIZ) == pytest.approx(
        {
            "length": math.log(size),
            "digits": 4 / size,
            "dollars": 0.0,
            "backslashes": 0.0,
            "operators": 0.0,
            "lines": 5.0,
            "blank": 0.0,
            "negation": 1.0,
            "which": 1.0,
            "statement": 0.0,
            "commas": 0.0,
            "capitals": 8 / size,
            "choices": 4.0,
            "choice_length": math.log(1 + 24 / 4),
            "choices_with_digits": 2 / 4,
            "first_line": math.log(16),
        }
    )


def test_a_formula_by_hand() -> None:
    """Dollars, backslashes and operators are shares of all characters and one: an empty text has none, not 0 / 0."""
    found = features(r"$\frac{1}{2}=x^2, y$")
    assert {name: round(found[name] * 21) for name in ("dollars", "backslashes", "operators", "commas", "digits")} == {
        "dollars": 2, "backslashes": 1, "operators": 2, "commas": 1, "digits": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "feature", "there"),
    [
        ("The capital of France is ____.", "blank", True),
        ("snake_case", "blank", False),
        ("All of these except one", "negation", True),
        ("Nothing, notwithstanding", "negation", False),
        ("Statement 1 | It rains.", "statement", True),
        ("An understatement", "statement", False),
        ("WHICH one?", "which", True),
        ("Whichever", "which", False),
    ],
)
def test_words_count_as_words(text: str, feature: str, there: bool) -> None:
    """In any case, and not inside of other words."""
    assert features(text)[feature] == there


@pytest.mark.parametrize("line", ["A. x", "(b) x", "10) x", "  C: x"])
def test_a_line_that_begins_like_a_choice_is_one(line: str) -> None:
    """Letters and numbers, with or without brackets; a sentence in the same place is none."""
    assert features(f"Choose:\n{line}")["choices"] == 1
    assert features("Choose:\nEverything. x")["choices"] == 0


def test_no_texts_have_no_rows() -> None:
    """As many columns as ever."""
    assert surface([]).shape == (0, len(FEATURES))


def test_beyond_a_bound_nothing_is_read() -> None:
    """A form can be told by the beginning; the time it takes is bounded."""
    np.testing.assert_array_equal(surface(["a" * MAX_CHARS + "1, 2\n(A) x"]), surface(["a" * MAX_CHARS]))


@given(st.lists(TEXTS, max_size=3))
def test_any_text_has_a_form(texts: list[str]) -> None:
    """Finite numbers that are not negative; shares are at most one. A text's row does not depend on the others."""
    found = surface(texts)
    assert found.shape == (len(texts), len(FEATURES))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found[:, SHARES] <= 1).all()
    for text, row in zip(texts, found, strict=True):
        np.testing.assert_array_equal(surface([text])[0], row)
