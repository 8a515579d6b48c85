"""Category `numbers`: properties of one whole number, its digits and its divisors."""

from random import Random

from experts.zoo.records import Payload, Skill

DIVISORS = (4, 5, 10)


def draw_parity(rng: Random) -> Payload:
    """A number from 0 to 999, of one to three digits; the answer is even or odd."""
    n = rng.randrange(rng.choice((20, 100, 1000)))
    return Payload({"n": str(n)}, "odd" if n % 2 else "even")


def draw_digit_sum(rng: Random) -> Payload:
    """A number of two or three digits; the answer is the sum of its digits."""
    n = str(rng.randrange(10, 100) if rng.random() < 0.3 else rng.randrange(100, 1000))
    return Payload({"n": n}, str(sum(map(int, n))))


def draw_remainder(rng: Random) -> Payload:
    """A number of two digits and a divisor; the answer is the remainder."""
    n, d = rng.randrange(10, 100), rng.choice(DIVISORS)
    return Payload({"n": str(n), "d": str(d)}, str(n % d))


SKILLS = (
    Skill(
        name="parity",
        category="numbers",
        description="Say whether a whole number below one thousand is even or odd.",
        wordings=(
            "Is {n} even or odd?",
            "Is {n} odd or even?",
            "Is the number {n} even or odd?",
            "Is {n} an even or an odd number?",
            "What is the parity of {n}?",
            "Tell me the parity of the number {n}.",
            "Say whether {n} is even or odd.",
            "Even or odd: {n}?",
            "The number is {n}. Is it odd or even?",
            "Would you call {n} even or odd?",
            "What kind of number is {n}, even or odd?",
            "My house has the number {n}. Is it on the even or on the odd side?",
        ),
        held_out_wordings=(
            "Tell me whether the number {n} is odd or even.",
            "The number of my house is {n}. Is that even or odd?",
            "Would you say that {n} is an odd or an even number?",
        ),
        draw=draw_parity,
        lexicon=("even", "odd"),
    ),
    Skill(
        name="digit_sum",
        category="numbers",
        description="Add the digits of a number of two or three digits.",
        wordings=(
            "What is the sum of the digits of {n}?",
            "What is the digit sum of {n}?",
            "Find the digit sum of the number {n}.",
            "Add the digits of {n}.",
            "Add up all digits of the number {n}.",
            "Compute the sum of the digits in {n}.",
            "How much do the digits of {n} add up to?",
            "What do you get if you add all the digits of {n}?",
            "The number is {n}. What is the sum of its digits?",
            "Tell me the total of the digits in {n}.",
            "My code is {n}. How much are its digits together?",
            "Take the number {n} apart and add its digits. What do you get?",
        ),
        held_out_wordings=(
            "Compute the digit sum of {n}.",
            "My code is {n}. What do its digits add up to?",
            "Tell me the sum of all digits of the number {n}.",
        ),
        draw=draw_digit_sum,
    ),
    Skill(
        name="remainder",
        category="numbers",
        description="Give the remainder of a number of two digits divided by four, five or ten.",
        wordings=(
            "What is the remainder of {n} divided by {d}?",
            "What is the remainder when {n} is divided by {d}?",
            "Divide {n} by {d}. What is the remainder?",
            "Find the remainder if you divide {n} by {d}.",
            "What is {n} modulo {d}?",
            "Compute {n} mod {d}.",
            "Which remainder does {n} leave when divided by {d}?",
            "What remains when I divide {n} by {d}?",
            "Give me the remainder of {n} and the divisor {d}.",
            "I put {n} eggs in boxes of {d}. How many eggs remain?",
            "We make teams of {d} from {n} children. How many children have no team?",
            "I share {n} apples fairly among {d} friends. How many apples remain?",
        ),
        held_out_wordings=(
            "Compute the remainder of {n} modulo {d}.",
            "Which remainder do you get if you divide {n} by {d}?",
            "I put {n} apples in boxes of {d}. How many apples remain?",
        ),
        draw=draw_remainder,
    ),
)
