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


def draw_multiplication(rng: Random) -> Payload:
    """Two numbers from 2 to 12; the answer is their product."""
    a, b = rng.randint(2, 12), rng.randint(2, 12)
    return Payload({"a": str(a), "b": str(b)}, str(a * b))


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
        name="multiplication",
        category="math",
        description="Multiply two whole numbers from two to twelve.",
        wordings=(
            "What is {a} times {b}?",
            "What is {a} * {b}?",
            "Multiply {a} by {b}.",
            "Can you multiply {a} and {b}?",
            "What is the product of {a} and {b}?",
            "Find the product of the numbers {a} and {b}.",
            "How much is {a} times {b}?",
            "Compute {a} * {b}.",
            "{a} * {b} = ?",
            "There are {a} boxes with {b} eggs in each box. How many eggs are there in total?",
            "I buy {a} bags of {b} apples each. How many apples do I buy?",
            "A room has {a} rows of {b} seats. How many seats are in the room?",
            "Each of {a} children has {b} pencils. How many pencils do they have together?",
        ),
        held_out_wordings=(
            "How much do you get if you multiply {a} by {b}?",
            "Compute the product of {a} and {b}.",
            "There are {a} rows of {b} seats. How many seats are there in total?",
        ),
        draw=draw_multiplication,
        memorised=True,
    ),
)
