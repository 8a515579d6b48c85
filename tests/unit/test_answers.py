"""What a reply answers, in a form that can be compared: free text."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.answers import canonical_json, extract, is_open_ended
from router.values import MAX_SHORT_CHARS

# What answers are made of: whole and broken marks, numbers, units, LaTeX, fences.
PIECES = st.sampled_from(
    r"""answer|is|Answer:|\boxed{|}|####|"answer":|"|'|[|]|{|(|)|A|B|5|1/2|1,000|.5|1e9|%|$|km|h|°C|½|²|−|May|2024|3:05|pm|
    ```|**|_|\frac|{1}|\text{|,|.|-|=|true|the|None|because|</s>""".split("|")
)


@pytest.mark.parametrize(
    "texts",
    [
        ("42", "42.", " 42 ", "+42", "42.0", "042", "4.2e1", "４２", "٤٢", "**42**", "$42$", "x = 42", "```\n42\n```"),
        (
            "1000",
            "1,000",
            "1,000.00",
            "1e3",
            "$1,000",
            "1000 dollars",
            r"\$1{,}000",
            "US$1000",
            "1 × 10^3",
            r"1 \times 10^{3}",
        ),
        ("-5", "-5.0", "-$5", "−5", "$-5"),
        ("0", "-0", "0.00", "0%", "0/7"),
        ("50%", "50.0%", "50 %", r"50\%", "50 percent", "0.5", "1/2", "2/4", ".5", r"\frac{1}{2}", r"$\dfrac12$"),
        ("1/3", "2/6", r"\frac{1}{3}", r"\tfrac{1}{3}"),
        ("-1/2", r"-\frac{1}{2}", r"\frac{-1}{2}", "-0.5"),
        ("7/2", "3.5", "3 1/2", r"3\frac{1}{2}"),
        ("5 km", "5000 m", "5,000 meters", "5 Kilometres", "5.0km", r"5\text{ km}", r"$5\,\mathrm{km}$", "500000 cm"),
        (
            "1.5 h",
            "90 min",
            "5400 s",
            "1.5 hours",
            "90 minutes",
            "5400 seconds",
            "5400000 ms",
            "90 mins.",
            "1 1/2 hours",
        ),
        ("2 days", "48 hours"),
        ("1 t", "1000 kg", "1,000 kilograms", "1e6 g", "1e9 mg", "1 tonne"),
        ("1.5 l", "1500 ml", "1.5 litres", "1500 mL", "1500 milliliters"),
        ("25 °C", "25°C", "25 ℃", "25 degrees Celsius", r"25^\circ C"),
        ("90°", "90 degrees", r"90^\circ", r"90^{\circ}"),
        ("yes", "Yes.", "true", "True", "**TRUE**"),
        ("no", "No!", "false"),
        (
            "3 May 2024",
            "May 3, 2024",
            "May 3rd, 2024",
            "2024-05-03",
            "2024/05/03",
            "3rd of May 2024",
            "Friday, 3 may 2024",
        ),
        ("15 September 2024", "Sep 15, 2024", "Sept. 15 2024"),
        ("3:05 pm", "15:05", "3:05 PM", "3:05 p.m.", "03:05pm"),
        ("12 am", "00:00", "0:00", "12:00 a.m."),
        ("B", "(B)", "**B**", "B.", "(b)", "b", "option B", "Choice (B)", "[B]", r"\text{B}", "[[B]]"),
        ("Paris", "paris", "PARIS.", '"Paris"', "`paris`", "  Paris\n", r"\text{Paris}", "```\nParis\n```"),
        ("the  blue   whale", "The blue\nwhale!", "Blue whale", "a blue whale"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("J\u00fcrgen", "Ju\u0308rgen"),
        ("(1, 2)", "(1,2)", "( 1, 2 )", r"\left(1, 2\right)"),
        ("x + 1", "x+1", "$x + 1$"),
        ("[1, 2, 3]", "[1,2,3]", "[1.0, 2, 3]", "```\n[1, 2, 3]\n```", "`[1, 2, 3]`"),
        ("['a', None, True]", '["a", null, true]', '```json\n["a", null, true]\n```'),
        ('{"a": 1, "b": "x"}', '{"b": "x",\n "a": 1.0}', "{'a': 1, 'b': 'x'}"),
        ("```python\nx = 1\nprint(X)\n```", "```\nx = 1  \nprint(X)\n```"),
    ],
)
def test_the_same_answer_in_another_form_agrees(texts: tuple[str, ...]) -> None:
    """Values compare by value, whatever the notation and the unit; texts without case, blanks, quotes and marks."""
    assert len({extract(text) for text in texts}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ("1", "-1", "10", "0.1"),
        ("50%", "50", "5"),
        ("1/3", "0.3333", "0.333333333333"),
        ("5 km", "5 m", "5", "5 apples", "5 km/h", "5 m²"),
        ("5 °C", "5 °F", "5", "5°"),
        ("3", "3 h", "3 m", "3 kg", "3 l", "3 pm", "3 mm²"),
        ("03/05/2024", "2024-05-03", "2024-03-05", "05/03/2024"),
        ("2024-13-03", "2024-02-30", "30 February 2024"),
        ("3:05 am", "3:05 pm"),
        ("3:60", "25:00", "13:05 pm", "1:05 pm"),
        ("yes", "no", "yes and no", "not true"),
        ("A", "B", "A and B", "A B", "or B"),
        ("Answer: (A)", "Answer: (A) and (C)", "Answer: (A), (C)"),
        ("102", "10²"),
        ("123", "1,2,3"),
        ("15", "1,5"),
        ("12345678901234567890123456789012", "12345678901234567890123456789013"),
        ("Answer: A cat", "Answer: A dog"),
        ("Answer: I see four", "Answer: I see five"),
        ("Answer: J. K. Rowling", "Answer: J. R. R. Tolkien"),
        ("Answer: 3; 5", "Answer: 3; 7", "Answer: 3, 5", "Answer: 3"),
        ("Answer: 5<x<7", "Answer: 5<x<9", "Answer: 5"),
        ("Answer: 2 (x + 1)", "Answer: 2 (x + 2)", "Answer: 2"),
        ("1e999999999", "1e999999998"),
        ("1/0", "2/0", "0"),
        ("(1, 2)", "[1, 2]", "{1, 2}", "1, 2"),
        ('{"a": 1}', '{"a": "1"}', '{"a": true}', '{"A": 1}'),
        ("```\nx = 1\nprint(X)\n```", "```\nx = 1\nprint(x)\n```", "```\nx = 1\n  print(X)\n```"),
    ],
)
def test_different_answers_do_not_agree(texts: tuple[str, ...]) -> None:
    """Signs, units, lists, powers and late digits are part of an answer; a bare number has no unit."""
    assert len({extract(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("The answer is 42.", "42"),
        ("The answer is: 42", "42"),
        ("Final answer: **1,024**", "1024"),
        ("**Answer:** 42", "42"),
        ("**Answer**: 42", "42"),
        ("Let me see.\nAnswer:\n42", "42"),
        ("6 · 7\n#### 42", "42"),
        ("So it is \\boxed{42}.", "42"),
        ("The final answer is $\\boxed{42}$.", "42"),
        (r"Hence $\boxed{\frac{1}{2}}$, as \sqrt{2} cancels.", "0.5"),
        (r"\boxed{\frac{\sqrt{2}}{x^{2}}}", r"\frac{\sqrt{2}}{x^{2}}"),
        (r"\boxed{\text{(B)}}", "B"),
        (r"\[\text{The answer is (B)}\]", "B"),
        (r"\boxed{41} is wrong, it is \boxed{42}, not \boxed{4", "42"),
        ("Answer: 7. Wait.\nAnswer: 8", "8"),
        ("The answer is 7. No, the answer is 8.", "8"),
        ("The answer is (B).\nThe answer is (", "B"),
        ("Final Answer: The answer is (E)", "E"),
        ("Answer: (B)", "B"),
        ("(answer: C)", "C"),
        ("(the answer is 42)", "42"),
        ("The correct answer is (B).", "B"),
        ("The correct option is B.", "B"),
        ("The closest choice is (B)", "B"),
        ("Answer: B) Paris", "B"),
        ("Answer: B. Paris", "B"),
        ("Answer: **B**: Paris", "B"),
        ("The answer is (B) -4%.", "B"),
        ("The answer is B because it is.", "B"),
        ("The answer is B.</s></s>", "B"),
        ("The answer is 5 km (about 3.1 miles).", "5000 m"),
        ("The answer is 42. I hope this helps.", "42"),
        ("The answer is yes, as it always was.", "true"),
        ("The answer is Paris.", "paris"),
        ("ANSWER = c", "C"),
        ("Answer: `[1, 2]`", "[1,2]"),
        ("Answer:\n```python\nx = 1 \nprint(X)\n```\nThis prints.", "x = 1\nprint(X)"),
        ('{"reasoning": "6 * 7, the answer is 41?", "answer": "42"}', "42"),
        ('```json\n{"answer": 42.0, "why": "the answer is 41"}\n```', "42"),
        ('I think:\n```json\n{"reasoning": "broken " escapes", "answer": "B"}\n```', "B"),
        ('{"final_answer": [1, 2.0]}', "[1,2]"),
        ('{"answer": null}', '{"answer":null}'),
        ('[{"answer": 1}, {"answer": 2}]', '[{"answer":1},{"answer":2}]'),
        ("(C)", "C"),
        ("D.", "D"),
        ("A. Paris", "a. paris"),
        ("", ""),
        ("Answer:", "answer:"),
        ("#### Summary\nIt rains.", "#### summary it rains"),
    ],
)
def test_the_last_marked_answer_counts(text: str, core: str) -> None:
    """A marked answer is taken out of its sentence; without a mark the whole text is the answer."""
    assert extract(text) == core


def test_a_value_behind_a_mark_beats_later_words() -> None:
    """A remark about the answer is not taken for it, and words count as marked only where the text ends with them."""
    assert extract("The answer is 42. Note that the answer is not unique") == "42"
    assert extract("So it is \\boxed{42}. The answer is obvious now.") == "42"
    assert is_open_ended("The answer is a long story. " + "It goes on. " * 2 * MAX_SHORT_CHARS)


def test_only_the_end_of_a_long_text_is_searched() -> None:
    """A mark counts within the last 20,000 characters: the work on a text of any size is bounded."""
    assert extract("word " * 100_000 + "\nAnswer: 42") == "42"
    assert extract("Answer: 42\n" + "word " * 100_000).startswith("Answer: 42")


def test_long_texts_agree_only_word_for_word() -> None:
    """Beyond `MAX_SHORT_CHARS` case and words are not compared loosely: two long prose texts are never one answer."""
    prose = "Paris. " * MAX_SHORT_CHARS
    assert extract(prose) == extract(prose + " ")
    assert extract(prose) != extract(prose.lower())


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("word " * MAX_SHORT_CHARS, True),
        ("word " * MAX_SHORT_CHARS + "\nThe answer is 42.", False),
        ("word " * MAX_SHORT_CHARS + r"so \boxed{x}", False),
        ("word " * MAX_SHORT_CHARS + "\nFinal answer: Paris", False),
        ("#### Heading\n" + "word " * MAX_SHORT_CHARS, True),
        ("Paris", False),
        ("", False),
    ],
)
def test_a_long_text_without_a_marked_answer_is_open_ended(text: str, is_open: bool) -> None:
    """Votes are counted where answers can be equal: on short ones, and on those that mark what they answer."""
    assert is_open_ended(text) is is_open


@pytest.mark.parametrize(
    "text", ["1e99999999999999999999", "1" * 199, "0." + "3" * 190, "9e-99999", "1" * 5000, "1e49"]
)
def test_numbers_of_any_size_are_compared(text: str) -> None:
    """Huge exponents and endless digits are neither expanded nor an error."""
    assert len(extract(text)) <= len(text) + 60


@given(st.text(max_size=300) | st.lists(PIECES, max_size=60).map(" ".join) | st.lists(PIECES, max_size=60).map("".join))
def test_any_text_has_a_core(text: str) -> None:
    """Whatever an expert writes, extraction gives some text, and the same for the same text."""
    assert extract(text) == extract(text)
    assert is_open_ended(text) in (True, False)
    assert canonical_json(text) == canonical_json(text)


@given(st.from_regex(r"\A[-+]?\d{1,40}(\.\d{1,40})?([eE][-+]?\d{1,9})?\Z"))
def test_a_number_keeps_its_value(text: str) -> None:
    """The core of a number is a number of the same value: extracting twice changes nothing."""
    assert extract(extract(text)) == extract(text)


@given(
    st.integers(-(10**9), 10**9), st.integers(1, 10**6), st.sampled_from(["", " km", " min", "%", " °C", " mg", " ml"])
)
def test_a_quantity_keeps_its_value(over: int, under: int, unit: str) -> None:
    """A fraction is the same in lowest terms or not, and its core is its own core."""
    core = extract(f"{over}/{under}{unit}")
    assert core == extract(f"{3 * over}/{3 * under}{unit}") == extract(core)
    assert core == extract(f"The answer is $\\frac{{{over}}}{{{under}}}${unit}.")


@given(st.from_regex(r"\A[a-zA-Z]{1,9}( [a-zA-Z]{1,9}){0,4}[.!]?\Z"))
def test_the_core_of_a_short_plain_answer_is_its_own_core(text: str) -> None:
    """Extracting twice changes nothing, behind a mark or not: an answer has one form."""
    core = extract(text)
    assert extract(core) == core == extract(f'"{text.upper()}"')


@given(st.dates(min_value=date(1000, 1, 1)))
def test_a_date_has_one_spelling(day: date) -> None:
    """English dates, with the month first or last, are ISO's."""
    for form in ("%d %B %Y", "%B %d, %Y", "%b %d %Y", "%Y/%m/%d"):
        assert extract(day.strftime(form)) == day.isoformat()
