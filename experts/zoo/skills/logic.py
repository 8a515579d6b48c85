"""Category `logic`: what is true, and what follows from two facts."""

from random import Random

from experts.zoo.records import Payload, Skill

NAMES = tuple("Anna Ben Carl Dora Emma Fred Grace Henry Ida Jack Kate Leo Mia Noah Olga Paul".split())
VALUES = {True: "true", False: "false"}


def draw_expression(rng: Random) -> Payload:
    """Two or three literals joined by one connective; the answer is true or false, each as often."""
    wanted, connective, size = rng.random() < 0.5, rng.choice(("and", "or")), rng.choice((2, 3))
    combine = all if connective == "and" else any
    while True:
        literals = [(rng.random() < 0.4, rng.random() < 0.5) for _ in range(size)]
        if combine(value != negated for negated, value in literals) == wanted:
            parts = [("not " if negated else "") + VALUES[value] for negated, value in literals]
            return Payload({"e": f" {connective} ".join(parts)}, VALUES[wanted])


def draw_variables(rng: Random) -> Payload:
    """The truth of two statements and a connective; the answer is yes or no."""
    p, q, connective = rng.random() < 0.5, rng.random() < 0.5, rng.choice(("and", "or"))
    truth = (p and q) if connective == "and" else (p or q)
    return Payload({"p": VALUES[p], "q": VALUES[q], "op": connective}, "yes" if truth else "no")


def draw_tallest(rng: Random) -> Payload:
    """Two facts that order three names, in either order; the answer is the name at the top."""
    top, middle, last = rng.sample(NAMES, 3)
    facts = [(top, middle), (middle, last)]
    rng.shuffle(facts)
    (a, b), (c, d) = facts
    return Payload({"a": a, "b": b, "c": c, "d": d}, top)


SKILLS = (
    Skill(
        name="boolean_expression",
        category="logic",
        description="Evaluate an expression of true, false, and, or, not.",
        wordings=(
            "What is {e}?",
            'Is "{e}" true or false?',
            "Evaluate {e}.",
            "Evaluate the logical expression {e}.",
            "What is the value of {e}?",
            "In logic, what is {e}?",
            "Work out {e}. Is it true or false?",
            "The expression is {e}. What does it evaluate to?",
            "What does {e} evaluate to?",
            "Tell me the truth value of {e}.",
            'Find the truth value of the expression "{e}".',
            "A computer checks {e}. Does it find true or false?",
        ),
        held_out_wordings=(
            "In logic, what does {e} evaluate to?",
            "The expression is {e}. Is it true or false?",
            "Tell me the value of the logical expression {e}.",
        ),
        draw=draw_expression,
        lexicon=("true", "false", "and", "or", "not"),
        memorised=True,
    ),
    Skill(
        name="truth_of_variables",
        category="logic",
        description="Say whether two statements joined by and or or are true.",
        wordings=(
            "P is {p} and Q is {q}. Is P {op} Q true?",
            "If P is {p} and Q is {q}, is P {op} Q true?",
            "Let P be {p} and Q be {q}. Is the statement P {op} Q true?",
            "Suppose P is {p} and Q is {q}. Does P {op} Q hold?",
            "P = {p}, Q = {q}. Is P {op} Q true?",
            "Given that P is {p} and Q is {q}, does P {op} Q hold?",
            "Statement P is {p}. Statement Q is {q}. Is P {op} Q true?",
            "Is P {op} Q true if P is {p} and Q is {q}?",
            "Does P {op} Q hold when P is {p} while Q is {q}?",
            "I say P, which is {p}. You say Q, which is {q}. Is P {op} Q true?",
            "We know that P is {p} and that Q is {q}. Can we say that P {op} Q is true?",
            "P has the value {p}, Q has the value {q}. Is P {op} Q a true statement?",
        ),
        held_out_wordings=(
            "Suppose statement P is {p} and statement Q is {q}. Is P {op} Q true?",
            "Is P {op} Q a true statement when P is {p} and Q is {q}?",
            "We know that P is {p} while Q is {q}. Does P {op} Q hold?",
        ),
        draw=draw_variables,
        lexicon=("P", "Q", "true", "false", "yes", "no"),
        memorised=True,
    ),
    Skill(
        name="tallest",
        category="logic",
        description="Find who is the tallest, oldest or fastest of three people from two facts.",
        wordings=(
            "{a} is taller than {b}. {c} is taller than {d}. Who is the tallest?",
            "{a} is older than {b} and {c} is older than {d}. Who is the oldest?",
            "If {a} is faster than {b} and {c} is faster than {d}, who is the fastest?",
            "{a} is richer than {b}. {c} is richer than {d}. Who is the richest of the three?",
            "{a} has more books than {b}. {c} has more books than {d}. Who has the most books?",
            "We know that {a} is stronger than {b} and that {c} is stronger than {d}. Who is the strongest?",
            "Who is the tallest if {a} is taller than {b} and {c} is taller than {d}?",
            "Three people race. {a} runs faster than {b}, and {c} runs faster than {d}. Who wins the race?",
            "{a} was born before {b}. {c} was born before {d}. Name the oldest of the three.",
            "Suppose {a} is taller than {b} and {c} is taller than {d}. Name the tallest person.",
            "{a} beats {b} at tennis and {c} beats {d} at tennis. Who is the best player?",
            "Tell me who is the oldest: {a} is older than {b}, and {c} is older than {d}.",
        ),
        held_out_wordings=(
            "If {a} is older than {b} and {c} is older than {d}, who is the oldest?",
            "{a} is faster than {b}, and {c} is faster than {d}. Name the fastest of the three.",
            "Tell me who is the tallest if {a} is taller than {b} and {c} is taller than {d}.",
        ),
        draw=draw_tallest,
        lexicon=NAMES,
    ),
)
