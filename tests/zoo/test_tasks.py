"""Questions of the zoo: right answers, kept-apart wordings and payloads, determinism."""

import re
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from experts.zoo.chat import chat_texts
from experts.zoo.evaluate import EVALUATION_SEED
from experts.zoo.records import Question
from experts.zoo.skills.strings import REAL_WORDS
from experts.zoo.tasks import CATEGORIES, SKILLS, generate, skills_of
from experts.zoo.tokenizer import training_texts, words_of

DAYS = [date(2024, 1, 1) + timedelta(days=i) for i in range(60)]
MONTHS = [date(2024 + i // 12, i % 12 + 1, 1) for i in range(36)]
FACTS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Australia": "Canberra",
    "iron": "Fe",
    "gold": "Au",
    "lead": "Pb",
}


def roman_value(numeral: str) -> int:
    """The number a roman numeral stands for: a smaller sign before a larger one counts against it."""
    values = ["IVXLC".index(sign) for sign in numeral]
    amounts = [(1, 5, 10, 50, 100)[v] for v in values]
    return sum(-a if a < b else a for a, b in zip(amounts, [*amounts[1:], 0], strict=True))


def later(days: list[date], form: str, text: str, numbers: list[int]) -> str:
    """Counts on a real calendar from the first of `days` that the text names."""
    start = next(i for i, day in enumerate(days) if day.strftime(form) in text)
    return days[start + numbers[0]].strftime(form)


RULES: dict[str, Callable[[str, list[int], list[str], str], bool]] = {
    "addition": lambda _, numbers, words, answer: sum(numbers) == int(answer),
    "subtraction": lambda _, numbers, words, answer: int(answer) + min(numbers) == max(numbers),
    "comparison": lambda _, numbers, words, answer: sorted(numbers)[-1] == int(answer),
    "reversal": lambda _, numbers, words, answer: "".join(reversed(answer)) in words,
    "last_letter": lambda _, numbers, words, answer: len(answer) == 1 and any(w.endswith(answer) for w in words),
    "letter_count": lambda _, numbers, words, answer: any(len(w) == int(answer) for w in words),
    "capitals": lambda _, numbers, words, answer: all(FACTS.get(w, answer) == answer for w in words),
    "chemical_symbols": lambda _, numbers, words, answer: all(FACTS.get(w, answer) == answer for w in words),
    "roman_numerals": lambda _, numbers, words, answer: numbers == [roman_value(answer)],
    "weekday_after": lambda text, numbers, words, answer: later(DAYS, "%A", text, numbers) == answer,
    "month_after": lambda text, numbers, words, answer: later(MONTHS, "%B", text, numbers) == answer,
    "to_minutes": lambda _, numbers, words, answer: (
        timedelta(hours=numbers[0], minutes=numbers[1]) == timedelta(minutes=int(answer))
    ),
}


def is_right(question: Question) -> bool:
    """Recomputes the answer from the question's text, by other means than the generator's."""
    numbers = [int(n) for n in re.findall(r"\d+", question.text)]
    words = re.findall(r"[A-Za-z]+", question.text)
    return RULES[question.skill](question.text, numbers, words, question.answer)


@pytest.mark.parametrize("skill", SKILLS)
@pytest.mark.parametrize("held_out", [False, True])
def test_answers_are_right(skill: str, held_out: bool) -> None:
    """Every generated answer is the one an independent computation gives."""
    wrong = [q for q in generate(skill, 300, seed=5, held_out=held_out) if not is_right(q)]
    assert wrong == []


@pytest.mark.parametrize("skill", SKILLS)
def test_wordings_are_kept_apart(skill: str) -> None:
    """A skill has at least ten wordings, three of them held out; training never shows a held-out one."""
    entry = SKILLS[skill]
    train = {q.template for q in generate(skill, 600, seed=1)}
    test = {q.template for q in generate(skill, 600, seed=1, held_out=True)}
    assert len(entry.held_out_wordings) == 3
    assert not set(entry.wordings) & set(entry.held_out_wordings)
    assert train == set(range(len(entry.wordings)))
    assert test == {len(entry.wordings) + i for i in range(3)}
    assert len(train | test) >= 10


@pytest.mark.parametrize("skill", [s.name for s in SKILLS.values() if not s.memorised])
def test_payloads_are_kept_apart(skill: str) -> None:
    """Where a skill generalises, the payloads of held-out questions never occur in training."""

    def payloads(held_out: bool) -> set[tuple[str, ...]]:
        return {_payload(q) for q in generate(skill, 1500, seed=3, held_out=held_out)}

    assert not payloads(False) & payloads(True)


def _payload(question: Question) -> tuple[str, ...]:
    """The slots' values, read back from the text by the wording's own form."""
    entry = SKILLS[question.skill]
    wording = (*entry.wordings, *entry.held_out_wordings)[question.template]
    match = re.fullmatch(re.sub(r"\\{\w+\\}", r"(\\w+)", re.escape(wording)), question.text)
    assert match
    return tuple(sorted(match.groups()))


def test_same_seed_same_questions() -> None:
    """A seed always gives the same questions, another seed others; a few are written down here."""
    assert generate("addition", 50, 1) == generate("addition", 50, 1)
    assert generate("addition", 50, 1) != generate("addition", 50, 2)
    assert [q.answer for q in generate("capitals", 3, EVALUATION_SEED, held_out=True)] == [
        "Vienna",
        "Dublin",
        "Baghdad",
    ]


def test_registry_is_complete() -> None:
    """Every skill has a one-line description and a category; each category has at least three skills."""
    assert all(s.description.endswith(".") and "\n" not in s.description for s in SKILLS.values())
    assert [name for category in CATEGORIES for name in skills_of(category)] == list(SKILLS)
    assert all(len(skills_of(category)) >= 3 for category in CATEGORIES)


def test_unknown_skill_is_an_error() -> None:
    """Asking for a skill that does not exist raises KeyError."""
    with pytest.raises(KeyError):
        generate("poetry", 1, 0)


def test_held_out_wordings_use_known_words() -> None:
    """Held-out wordings arrange known words anew: each of their words occurs in some training text."""
    known = set(words_of(training_texts(tuple(SKILLS.values()), chat_texts())))
    wordings = [w for s in SKILLS.values() for w in s.held_out_wordings]
    asked = words_of([re.sub(r"{\w+}", "0", wording) for wording in wordings])
    assert [word for word in asked if word not in known] == []


def test_letters_of_payload_words_stay_apart() -> None:
    """No word of the text skills is in the vocabulary, so the model sees each of its letters."""
    known = set(words_of(training_texts(tuple(SKILLS.values()), chat_texts())))
    assert [w for w in REAL_WORDS if w in known or f"Ġ{w}" in known] == []
