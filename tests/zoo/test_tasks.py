"""Questions of the zoo: right answers, kept-apart wordings and payloads, determinism."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

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


def value(term: str, x: int) -> int:
    """What a sum or difference of numbers and x comes to, read from left to right."""
    total, sign = 0, 1
    for part in term.split():
        if part in "+-":
            sign = 1 if part == "+" else -1
        else:
            total += sign * (x if part == "x" else int(part))
    return total


def solves(text: str, answer: int) -> bool:
    """Puts the answer into the text's equation in x."""
    left, right = re.findall(r"((?:x|\d+) [+-] (?:x|\d+)) = (\d+)", text)[0]
    return value(left, answer) == int(right)


def takes_back(text: str, numbers: list[int], answer: int) -> bool:
    """Takes the text's step from the answer and sees whether it leads to the other number."""
    word, step = re.findall(r"(add|plus|subtract|minus) (\d+)", text)[0]
    numbers.remove(int(step))
    return numbers == [answer + int(step) * (1 if word in ("add", "plus") else -1)]


def truth(expression: str) -> str:
    """The value of an expression, as a sum of products of zeros and ones."""
    total = 0
    for product in expression.split(" or "):
        literals = [literal.split() for literal in product.split(" and ")]
        total += all((words.count("not") + words.count("false")) % 2 == 0 for words in literals)
    return "true" if total else "false"


def never_beaten(words: list[str]) -> list[str]:
    """Of the names that occur, in twos, those that never come second."""
    names = [word for word in words if word in SKILLS["tallest"].lexicon]
    assert len(names) == 4
    return sorted(set(names[::2]) - set(names[1::2]))


def follows(items: list[str]) -> str:
    """The item that goes on with the shortest period the items have."""
    period = next(p for p in range(2, 4) if items[p:] == items[:-p])
    return items[len(items) % period]


def clock_after(text: str, numbers: list[int]) -> str:
    """Adds the minutes on a real clock; stays on the same day."""
    hour, minute = map(int, re.findall(r"(\d\d):(\d\d)", text)[0])
    [later] = re.findall(r"(\d+) minutes", text)
    now = datetime(2024, 1, 1, hour, minute, tzinfo=UTC)
    then = now + timedelta(minutes=int(later))
    assert len(numbers) == 3
    assert then.date() == now.date()
    return then.strftime("%H:%M")


def powers(text: str, numbers: list[int]) -> int:
    """Moves the decimal point by the difference of the units' prefixes."""
    units = re.findall(r"(kilo|centi|milli|)(?:metres|grams)", text)
    exponents = sorted({"kilo": 3, "": 0, "centi": -2, "milli": -3}[unit] for unit in units)
    return int(Decimal(numbers[0]).scaleb(exponents[1] - exponents[0]))


def items_of(question: Question) -> list[str]:
    """The list in a question, by its commas."""
    return slots_of(question)["items"].split(", ")


def slots_of(question: Question) -> dict[str, str]:
    """The slots' values, read back from the text by the wording's own form."""
    entry = SKILLS[question.skill]
    wording = (*entry.wordings, *entry.held_out_wordings)[question.template]
    match = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(wording)), question.text)
    assert match
    return match.groupdict()


RULES: dict[str, Callable[[Question, list[int], list[str], str], bool]] = {
    "addition": lambda _, numbers, words, answer: sum(numbers) == int(answer),
    "subtraction": lambda _, numbers, words, answer: int(answer) + min(numbers) == max(numbers),
    "multiplication": lambda _, numbers, words, answer: sum([numbers[0]] * numbers[1]) == int(answer),
    "equation": lambda q, numbers, words, answer: solves(q.text, int(answer)),
    "substitution": lambda q, numbers, words, answer: (
        value(slots_of(q)["term"], int(slots_of(q)["x"])) == int(answer) in range(151)
    ),
    "inverse": lambda q, numbers, words, answer: takes_back(q.text, numbers, int(answer)),
    "parity": lambda _, numbers, words, answer: answer == ("even" if str(numbers[0])[-1] in "02468" else "odd"),
    "digit_sum": lambda _, numbers, words, answer: (
        numbers[0] // 100 + numbers[0] // 10 % 10 + numbers[0] % 10 == int(answer)
    ),
    "remainder": lambda _, numbers, words, answer: (
        int(answer) < min(numbers) and max(numbers) - int(answer) in range(0, 100, min(numbers))
    ),
    "larger_number": lambda _, numbers, words, answer: sorted(numbers)[-1] == int(answer),
    "smallest_number": lambda _, numbers, words, answer: (
        len(numbers) == 3 and sum(int(answer) < n for n in numbers) == 2 and int(answer) in numbers
    ),
    "alphabetical_first": lambda q, numbers, words, answer: (
        sorted(slots_of(q).values(), key=lambda word: [ord(letter) for letter in word])[0] == answer
    ),
    "reversal": lambda _, numbers, words, answer: "".join(reversed(answer)) in words,
    "last_letter": lambda _, numbers, words, answer: len(answer) == 1 and any(w.endswith(answer) for w in words),
    "letter_count": lambda _, numbers, words, answer: any(len(w) == int(answer) for w in words),
    "boolean_expression": lambda q, numbers, words, answer: truth(slots_of(q)["e"]) == answer,
    "truth_of_variables": lambda q, numbers, words, answer: (
        (list(slots_of(q).values()).count("true") >= (2 if "P and Q" in q.text else 1)) == (answer == "yes")
    ),
    "tallest": lambda _, numbers, words, answer: never_beaten(words) == [answer],
    "next_number": lambda _, numbers, words, answer: (
        len(numbers) == 4 and len({b - a for a, b in pairwise([*numbers, int(answer)])}) == 1
    ),
    "next_letter": lambda q, numbers, words, answer: (
        len({ord(b) - ord(a) for a, b in pairwise([*items_of(q), answer])}) == 1
    ),
    "repeating_pattern": lambda q, numbers, words, answer: len(items_of(q)) >= 4 and follows(items_of(q)) == answer,
    "membership": lambda _, numbers, words, answer: (len(set(numbers)) < len(numbers)) == (answer == "yes"),
    "common_number": lambda _, numbers, words, answer: (
        [n for n, times in Counter(numbers).items() if times > 1] == [int(answer)]
    ),
    "list_length": lambda q, numbers, words, answer: len(items_of(q)) == int(answer),
    "weekday_after": lambda q, numbers, words, answer: later(DAYS, "%A", q.text, numbers) == answer,
    "month_after": lambda q, numbers, words, answer: later(MONTHS, "%B", q.text, numbers) == answer,
    "clock_after": lambda q, numbers, words, answer: clock_after(q.text, numbers) == answer,
    "to_minutes": lambda _, numbers, words, answer: (
        timedelta(hours=numbers[0], minutes=numbers[1]) == timedelta(minutes=int(answer))
    ),
    "metric": lambda q, numbers, words, answer: powers(q.text, numbers) == int(answer),
    "cents": lambda _, numbers, words, answer: Decimal(f"{numbers[0]}.{numbers[1]:02}") * 100 == int(answer),
    "capitals": lambda _, numbers, words, answer: all(FACTS.get(w, answer) == answer for w in words),
    "chemical_symbols": lambda _, numbers, words, answer: all(FACTS.get(w, answer) == answer for w in words),
    "roman_numerals": lambda _, numbers, words, answer: numbers == [roman_value(answer)],
}


def is_right(question: Question) -> bool:
    """Recomputes the answer from the question's text, by other means than the generator's."""
    numbers = [int(n) for n in re.findall(r"\d+", question.text)]
    words = re.findall(r"[A-Za-z]+", question.text)
    return RULES[question.skill](question, numbers, words, question.answer)


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
        return {tuple(sorted(slots_of(q).values())) for q in generate(skill, 1500, seed=3, held_out=held_out)}

    assert not payloads(False) & payloads(True)


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
    assert len(SKILLS) >= 20
    assert len(CATEGORIES) >= 6


def test_answers_with_two_values_are_balanced() -> None:
    """No skill with two possible answers rewards saying always the same one."""
    for skill in ("parity", "boolean_expression", "truth_of_variables", "membership"):
        answers = Counter(q.answer for q in generate(skill, 400, seed=2))
        assert len(answers) == 2
        assert min(answers.values()) > 140


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
