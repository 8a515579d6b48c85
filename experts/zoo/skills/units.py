"""Category `units`: one amount in another unit, of time, length, weight and money."""

from random import Random

from experts.zoo.records import Payload, Skill

METRIC: tuple[tuple[str, str, int], ...] = (
    ("metres", "centimetres", 100),
    ("kilometres", "metres", 1000),
    ("kilograms", "grams", 1000),
    ("centimetres", "millimetres", 10),
)


def draw_minutes(rng: Random) -> Payload:
    """Two to nine hours and 2 to 59 minutes; the answer is all of it in minutes."""
    hours, minutes = rng.randint(2, 9), rng.randint(2, 59)
    return Payload({"h": str(hours), "m": str(minutes)}, str(60 * hours + minutes))


def draw_metric(rng: Random) -> Payload:
    """Two to 99 of a metric unit; the answer is how many of the smaller unit they are."""
    big, small, factor = rng.choice(METRIC)
    n = rng.randint(2, 99)
    return Payload({"n": str(n), "big": big, "small": small}, str(n * factor))


def draw_cents(rng: Random) -> Payload:
    """One to nine dollars and 1 to 99 cents; the answer is all of it in cents."""
    dollars, cents = rng.randint(1, 9), rng.randint(1, 99)
    slots = {"dollars": counted(dollars, "dollar"), "cents": counted(cents, "cent")}
    return Payload(slots, str(100 * dollars + cents))


def counted(n: int, noun: str) -> str:
    """`n` and the noun, with an s unless there is just one."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


SKILLS = (
    Skill(
        name="to_minutes",
        category="units",
        description="Turn hours and minutes into minutes.",
        wordings=(
            "How many minutes are {h} hours and {m} minutes?",
            "How many minutes are in {h} hours and {m} minutes?",
            "Turn {h} hours and {m} minutes into minutes.",
            "What is {h} hours and {m} minutes in minutes?",
            "Write {h} hours and {m} minutes in minutes.",
            "How long is {h} hours {m} minutes in minutes?",
            "My trip takes {h} hours and {m} minutes. How many minutes is that?",
            "The film takes {h} hours and {m} minutes. How long is it in minutes?",
            "I wait for {h} hours and {m} minutes. How many minutes do I wait?",
            "Give me {h} hours and {m} minutes as a number of minutes.",
            "Compute the minutes in {h} hours and {m} minutes.",
            "Tell me how many minutes {h} hours and {m} minutes are.",
        ),
        held_out_wordings=(
            "Compute how many minutes are in {h} hours and {m} minutes.",
            "My film takes {h} hours and {m} minutes. How long is that in minutes?",
            "Tell me what {h} hours {m} minutes is in minutes.",
        ),
        draw=draw_minutes,
    ),
    Skill(
        name="metric",
        category="units",
        description="Turn a length or a weight into a smaller metric unit.",
        wordings=(
            "How many {small} are {n} {big}?",
            "How many {small} are in {n} {big}?",
            "Turn {n} {big} into {small}.",
            "Convert {n} {big} to {small}.",
            "What is {n} {big} in {small}?",
            "Write {n} {big} in {small}.",
            "Express {n} {big} in {small}.",
            "Give me {n} {big} as a number of {small}.",
            "Tell me how many {small} {n} {big} are.",
            "{n} {big} are how many {small}?",
            "A sign says {n} {big}. How many {small} is that?",
            "My plan says {n} {big}, but I need {small}. How many are that?",
        ),
        held_out_wordings=(
            "Tell me what {n} {big} is in {small}.",
            "My plan says {n} {big}. How many {small} is that?",
            "Convert {n} {big} into {small}.",
        ),
        draw=draw_metric,
        lexicon=tuple(dict.fromkeys(unit for big, small, _ in METRIC for unit in (big, small))),
    ),
    Skill(
        name="cents",
        category="units",
        description="Turn dollars and cents into cents.",
        wordings=(
            "How many cents are {dollars} and {cents}?",
            "How many cents are in {dollars} and {cents}?",
            "Turn {dollars} and {cents} into cents.",
            "Convert {dollars} and {cents} to cents.",
            "What is {dollars} and {cents} in cents?",
            "Write {dollars} and {cents} in cents.",
            "How much is {dollars} and {cents} in cents?",
            "A book costs {dollars} and {cents}. How many cents is that?",
            "The lunch costs {dollars} and {cents}. What is the price in cents?",
            "I have {dollars} and {cents} in my bag. How many cents do I have?",
            "I pay {dollars} and {cents} with cents only. How many cents do I need?",
            "Give me {dollars} and {cents} as a number of cents.",
        ),
        held_out_wordings=(
            "The book costs {dollars} and {cents}. What is that in cents?",
            "How much is {dollars} and {cents} as a number of cents?",
            "I have {dollars} and {cents}. How many cents is that?",
        ),
        draw=draw_cents,
        lexicon=("dollar", "dollars", "cent", "cents"),
    ),
)
