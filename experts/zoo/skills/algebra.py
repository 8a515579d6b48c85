"""Category `algebra`: an unknown number, called x or told in words."""

from random import Random

from experts.zoo.records import Payload, Skill
from experts.zoo.skills.arithmetic import draw_number


def draw_equation(rng: Random) -> Payload:
    """An equation in x whose numbers are all below 100; the answer is x."""
    small, large = sorted((draw_number(rng), draw_number(rng)))
    form = rng.randrange(3)
    if form == 2:
        return Payload({"equation": f"x - {small} = {large - small}"}, str(large))
    sides = f"x + {small}" if form == 0 else f"{small} + x"
    return Payload({"equation": f"{sides} = {large}"}, str(large - small))


def draw_substitution(rng: Random) -> Payload:
    """A value of x and a sum or difference with x in it; the answer, 0 to 150, is what that is then."""
    x = draw_number(rng)
    if rng.random() < 0.5:
        other = rng.randint(0, min(99, 150 - x))
        term = f"x + {other}" if rng.random() < 0.5 else f"{other} + x"
        return Payload({"x": str(x), "term": term}, str(x + other))
    other = draw_number(rng)
    term = f"x - {other}" if other <= x else f"{other} - x"
    return Payload({"x": str(x), "term": term}, str(abs(x - other)))


def draw_inverse(rng: Random) -> Payload:
    """A step from an unknown number and where it leads; the answer is the number, 0 to 40."""
    small, step = rng.randint(0, 20), rng.randint(1, 20)
    large = small + step
    # The same step as an order and as an operator, so that a wording takes the form it needs.
    if rng.random() < 0.5:
        return Payload({"do": f"add {step}", "op": f"plus {step}", "b": str(large)}, str(small))
    return Payload({"do": f"subtract {step}", "op": f"minus {step}", "b": str(small)}, str(large))


SKILLS = (
    Skill(
        name="equation",
        category="algebra",
        description="Solve an equation with one unknown, x.",
        wordings=(
            "Solve {equation}.",
            "Solve {equation} for x.",
            "Solve the equation {equation}.",
            "If {equation}, what is x?",
            "Find x if {equation}.",
            "What is x if {equation}?",
            "What is the value of x in {equation}?",
            "Which number is x in the equation {equation}?",
            "Given that {equation}, find x.",
            "The equation is {equation}. What is x?",
            "What must x be so that {equation}?",
            "For which x is it true that {equation}?",
            "My teacher writes {equation} on the wall. Which number is x?",
        ),
        held_out_wordings=(
            "Given the equation {equation}, what is x?",
            "Find the value of x so that {equation}.",
            "The equation is {equation}. What is the value of x?",
        ),
        draw=draw_equation,
    ),
    Skill(
        name="substitution",
        category="algebra",
        description="Compute a sum or difference with x in it for a given x.",
        wordings=(
            "If x is {x}, what is {term}?",
            "If x = {x}, what is {term}?",
            "Let x be {x}. What is {term}?",
            "Let x = {x}. Compute {term}.",
            "Given x = {x}, find {term}.",
            "What is {term} when x is {x}?",
            "What is the value of {term} for x = {x}?",
            "Evaluate {term} when x is {x}.",
            "Compute {term} for x = {x}.",
            "Put {x} in place of x. What is {term} then?",
            "The value of x is {x}. How much is {term}?",
            "How much is {term} when x equals {x}?",
            "My machine computes {term}. I give it {x} as x. What comes out?",
        ),
        held_out_wordings=(
            "Let x be {x}. How much is {term} then?",
            "Find the value of {term} when x is {x}.",
            "Given that x equals {x}, what is {term}?",
        ),
        draw=draw_substitution,
    ),
    Skill(
        name="inverse",
        category="algebra",
        description="Find the number that leads to a result after a step.",
        wordings=(
            "I think of a number, {do} and get {b}. What is my number?",
            "What number {op} gives {b}?",
            "Which number {op} is {b}?",
            "Some number {op} equals {b}. Which number is it?",
            "If I take a number and {do}, I get {b}. Which number did I take?",
            "A secret number {op} makes {b}. What is the secret number?",
            "Find the number that gives {b} if you {do}.",
            "Take an unknown number and {do}. The result is {b}. What was the unknown number?",
            "You get {b} when you take a number and {do}. What was the number?",
            "A number {op} is {b}. What is the number?",
            "Guess my number: my number {op} makes {b}.",
            "Tom picks a number. Then I {do} and the result is {b}. Which number did Tom pick?",
        ),
        held_out_wordings=(
            "I pick a secret number, {do} and get {b}. Which number is it?",
            "Which number {op} makes {b}?",
            "Find the secret number: the number {op} gives {b}.",
        ),
        draw=draw_inverse,
    ),
)
