"""Category `comparison`: which of two or three things comes first in an order."""

from random import Random

from experts.zoo.records import Payload, Skill
from experts.zoo.skills.strings import draw_word

SAME_FIRST_LETTER_SHARE = 0.15
"""How often two words begin alike, so that a later letter decides."""


def draw_larger(rng: Random) -> Payload:
    """Two different numbers from 0 to 999; the answer is the larger one."""
    a, b = rng.sample(range(1000 if rng.random() < 0.5 else 100), 2)
    return Payload({"a": str(a), "b": str(b)}, str(max(a, b)))


def draw_smallest(rng: Random) -> Payload:
    """Three different numbers from 0 to 99; the answer is the smallest one."""
    numbers = rng.sample(range(100), 3)
    a, b, c = map(str, numbers)
    return Payload({"a": a, "b": b, "c": c}, str(min(numbers)))


def draw_alphabetical(rng: Random) -> Payload:
    """Two different words of three to six letters; the answer is the one a dictionary has first."""
    alike = rng.random() < SAME_FIRST_LETTER_SHARE
    a = draw_word(rng, 6)
    while True:
        b = draw_word(rng, 6)
        if a != b and (a[0] == b[0]) == alike:
            return Payload({"a": a, "b": b}, min(a, b))


SKILLS = (
    Skill(
        name="larger_number",
        category="comparison",
        description="Name the larger of two whole numbers below one thousand.",
        wordings=(
            "Which is larger, {a} or {b}?",
            "Which number is larger, {a} or {b}?",
            "Which number is bigger: {a} or {b}?",
            "Which is greater, {a} or {b}?",
            "What is the larger number of {a} and {b}?",
            "Name the bigger number: {a} or {b}.",
            "Find the maximum of {a} and {b}.",
            "Of {a} and {b}, which one is greater?",
            "Between {a} and {b}, which number is the larger one?",
            "Tell me the greater of {a} and {b}.",
            "Say which one is bigger, {a} or {b}.",
            "What is the maximum of the numbers {a} and {b}?",
        ),
        held_out_wordings=(
            "Of the numbers {a} and {b}, which is bigger?",
            "Tell me which number is greater, {a} or {b}.",
            "Between {a} and {b}, name the larger one.",
        ),
        draw=draw_larger,
    ),
    Skill(
        name="smallest_number",
        category="comparison",
        description="Name the smallest of three whole numbers below one hundred.",
        wordings=(
            "Which is the smallest, {a}, {b} or {c}?",
            "Which number is the smallest: {a}, {b} or {c}?",
            "What is the smallest number of {a}, {b} and {c}?",
            "Find the minimum of {a}, {b} and {c}.",
            "What is the minimum of the numbers {a}, {b} and {c}?",
            "Name the lowest number: {a}, {b}, {c}.",
            "Which of {a}, {b} and {c} is the least?",
            "Of {a}, {b} and {c}, which one is the lowest?",
            "Tell me the smallest of {a}, {b} and {c}.",
            "Three friends are {a}, {b} and {c} years old. How old is the youngest?",
            "Three shops ask {a}, {b} and {c} dollars. What is the lowest price?",
            "If I order {a}, {b} and {c} from small to large, which one is first?",
        ),
        held_out_wordings=(
            "Of the numbers {a}, {b} and {c}, which is the smallest?",
            "Tell me which number is the lowest, {a}, {b} or {c}.",
            "Name the minimum of {a}, {b} and {c}.",
        ),
        draw=draw_smallest,
    ),
    Skill(
        name="alphabetical_first",
        category="comparison",
        description="Name which of two words comes first in the alphabet.",
        wordings=(
            'Which comes first in the alphabet, "{a}" or "{b}"?',
            "Which word comes first in the alphabet, {a} or {b}?",
            'Which word is first in alphabetical order: "{a}" or "{b}"?',
            "In alphabetical order, which is first, {a} or {b}?",
            "Sort the words {a} and {b} by the alphabet. Which one is first?",
            'Put "{a}" and "{b}" in alphabetical order. Which word comes first?',
            "Which word does a dictionary list first, {a} or {b}?",
            'Would "{a}" or "{b}" come first in a dictionary?',
            "Of the words {a} and {b}, which one is earlier in the alphabet?",
            'Name the word that is earlier in a dictionary: "{a}" or "{b}".',
            "I look for {a} and {b} in a dictionary. Which word do I find first?",
            "Alphabetically, which word comes before the other, {a} or {b}?",
        ),
        held_out_wordings=(
            "Of the words {a} and {b}, which one comes first in a dictionary?",
            "Which word is earlier in alphabetical order, {a} or {b}?",
            "Name the word that comes first in the alphabet: {a} or {b}.",
        ),
        draw=draw_alphabetical,
    ),
)
