"""Category `sequences`: what comes next in a row of numbers, letters or words."""

from random import Random
from string import ascii_lowercase

from experts.zoo.records import Payload, Skill

COLORS = tuple("red blue green yellow black white pink purple brown orange".split())
SHOWN = {2: (4, 6), 3: (5, 7)}
"""By period: the fewest and the most items shown of a pattern."""


def draw_progression(rng: Random) -> Payload:
    """Four terms of an arithmetic progression, all below 100; the answer is the fifth."""
    step = rng.randint(1, 9)
    start = rng.randrange(100 - 4 * step)
    *terms, answer = (str(start + i * step) for i in range(5))
    return Payload({"items": ", ".join(terms)}, answer)


def draw_letters(rng: Random) -> Payload:
    """Three or four letters in steps of one to three; the answer is the next letter."""
    step, shown = rng.randint(1, 3), rng.choice((3, 4))
    start = rng.randrange(26 - shown * step)
    *letters, answer = (ascii_lowercase[start + i * step] for i in range(shown + 1))
    return Payload({"items": ", ".join(letters)}, answer)


def draw_pattern(rng: Random) -> Payload:
    """Two or three colors, repeated; the answer is the color that goes on."""
    period = rng.choice(list(SHOWN))
    colors = rng.sample(COLORS, period)
    shown = rng.randint(*SHOWN[period])
    *items, answer = (colors[i % period] for i in range(shown + 1))
    return Payload({"items": ", ".join(items)}, answer)


SKILLS = (
    Skill(
        name="next_number",
        category="sequences",
        description="Continue a row of numbers that grows by equal steps.",
        wordings=(
            "What number comes next: {items}?",
            "Which number comes next in {items}?",
            "What is the next number in the sequence {items}?",
            "Continue the sequence of numbers: {items}.",
            "Find the next term of {items}.",
            "The sequence of numbers is {items}. What is the next term?",
            "Which number follows {items}?",
            "{items}, ? Which number is missing?",
            "I count {items}. Which number do I say next?",
            "Give me the number that continues {items}.",
            "My plant measures {items} on four days. If it grows on like that, what is next?",
            "Name the next term of the arithmetic sequence {items}.",
        ),
        held_out_wordings=(
            "Which number continues the sequence {items}?",
            "I count {items}. What number comes next?",
            "Give me the next term of the sequence {items}.",
        ),
        draw=draw_progression,
    ),
    Skill(
        name="next_letter",
        category="sequences",
        description="Continue a row of letters that goes through the alphabet by equal steps.",
        wordings=(
            "What letter comes next: {items}?",
            "Which letter comes next in {items}?",
            "What is the next letter in the sequence {items}?",
            "Continue the sequence of letters: {items}.",
            "Which letter follows {items}?",
            "The letters are {items}. What is the next letter?",
            "{items}, ? Which letter is missing?",
            "I go through the alphabet like this: {items}. Which letter is next?",
            "Give me the letter that continues {items}.",
            "A child says {items}. Which letter does the child say next?",
            "Name the next letter of the row {items}.",
            "Find the letter that goes on after {items}.",
        ),
        held_out_wordings=(
            "Which letter continues the sequence {items}?",
            "A child says the letters {items}. What letter comes next?",
            "Give me the next letter of the row {items}.",
        ),
        draw=draw_letters,
        lexicon=tuple(ascii_lowercase),
        memorised=True,
    ),
    Skill(
        name="repeating_pattern",
        category="sequences",
        description="Continue a repeating pattern of colors.",
        wordings=(
            "What comes next in the pattern {items}?",
            "Which color comes next: {items}?",
            "What is the next color in the pattern {items}?",
            "Continue the pattern: {items}.",
            "Which color follows {items}?",
            "The pattern is {items}. Which color is next?",
            "The colors repeat: {items}. What is the next one?",
            "Beads on a string go {items}. Which color is the next bead?",
            "A light turns {items}. Which color does it turn next?",
            "The flags are {items}. If they go on like this, what color is the next flag?",
            "Name the color that continues {items}.",
            "Find the next word of the pattern {items}.",
        ),
        held_out_wordings=(
            "Which color continues the pattern {items}?",
            "The colors go {items}. What comes next?",
            "Name the next color of the pattern: {items}.",
        ),
        draw=draw_pattern,
        lexicon=COLORS,
    ),
)
