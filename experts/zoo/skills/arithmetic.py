"""Category `math`: whole numbers, written in digits."""

from random import Random

from experts.zoo.records import Payload, Skill


def draw_number(rng: Random) -> int:
    """A number from 0 to 99, small ones more often."""
    return rng.randrange(20 if rng.random() < 0.3 else 100)


def draw_addition(rng: Random) -> Payload:
    """Two numbers from 0 to 99; the answer is their sum."""
    a, b = draw_number(rng), draw_number(rng)
    return Payload({"a": str(a), "b": str(b)}, str(a + b))


def draw_subtraction(rng: Random) -> Payload:
    """Two numbers from 0 to 99, the larger first; the answer is their difference, never negative."""
    b, a = sorted((draw_number(rng), draw_number(rng)))
    return Payload({"a": str(a), "b": str(b)}, str(a - b))


def draw_comparison(rng: Random) -> Payload:
    """Two different numbers from 0 to 999; the answer is the larger one."""
    a, b = rng.sample(range(1000 if rng.random() < 0.5 else 100), 2)
    return Payload({"a": str(a), "b": str(b)}, str(max(a, b)))


SKILLS = (
    Skill(
        name="addition",
        category="math",
        description="Add two whole numbers below one hundred.",
        wordings=(
            "What is {a} plus {b}?",
            "What is {a} + {b}?",
            "Add {a} and {b}.",
            "Add {b} to {a}.",
            "Can you add {b} to {a}?",
            "What is the sum of {a} and {b}?",
            "Find the sum of the numbers {a} and {b}.",
            "How much is {a} plus {b}?",
            "Compute {a} + {b}.",
            "If I have {a} apples and get {b} more, how many apples do I have?",
            "There are {a} birds and {b} more birds come. How many birds are there in total?",
            "{a} + {b} = ?",
            "I know {a} and {b}. What is their total?",
        ),
        held_out_wordings=(
            "How much do you get if you add {a} and {b}?",
            "Compute the sum of {a} and {b}.",
            "I have {a} birds and get {b} more. How many birds do I have in total?",
        ),
        draw=draw_addition,
    ),
    Skill(
        name="subtraction",
        category="math",
        description="Subtract a whole number from a larger one below one hundred.",
        wordings=(
            "What is {a} minus {b}?",
            "What is {a} - {b}?",
            "Subtract {b} from {a}.",
            "Take {b} away from {a}.",
            "Can you subtract {b} from {a}?",
            "What is the difference between {a} and {b}?",
            "Find the difference of the numbers {a} and {b}.",
            "How much is {a} minus {b}?",
            "Compute {a} - {b}.",
            "I have {a} apples and give {b} away. How many apples are left?",
            "There are {a} birds and {b} fly away. How many birds are left?",
            "{a} - {b} = ?",
            "How much is left if I take {b} from {a}?",
        ),
        held_out_wordings=(
            "How much do you get if you subtract {b} from {a}?",
            "Compute the difference between {a} and {b}.",
            "If I have {a} birds and {b} fly away, how many are left?",
        ),
        draw=draw_subtraction,
    ),
    Skill(
        name="comparison",
        category="math",
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
        draw=draw_comparison,
    ),
)
