"""Category `sets`: lists of numbers and words, and what is in them."""

from random import Random

from experts.zoo.records import Payload, Skill

ANIMALS = tuple("cat dog cow hen pig fish bird goat bear lion duck bee sheep mouse".split())


def listed(items: list[int]) -> str:
    """The numbers with commas between them."""
    return ", ".join(map(str, items))


def draw_membership(rng: Random) -> Payload:
    """A number and a list of three to five, all below 100; the answer is yes or no, each as often."""
    other, *items = rng.sample(range(100), rng.randint(4, 6))
    inside = rng.random() < 0.5
    n = rng.choice(items) if inside else other
    return Payload({"n": str(n), "items": listed(items)}, "yes" if inside else "no")


def draw_common(rng: Random) -> Payload:
    """Two lists of three numbers below 100 that share exactly one; the answer is that one."""
    common, *others = rng.sample(range(100), 5)
    first, second = [common, *others[:2]], [common, *others[2:]]
    rng.shuffle(first)
    rng.shuffle(second)
    return Payload({"first": listed(first), "second": listed(second)}, str(common))


def draw_length(rng: Random) -> Payload:
    """A list of two to eight numbers or words; the answer is how many they are."""
    size = rng.randint(2, 8)
    if rng.random() < 0.5:
        return Payload({"kind": "numbers", "items": listed(rng.sample(range(100), size))}, str(size))
    return Payload({"kind": "words", "items": ", ".join(rng.sample(ANIMALS, size))}, str(size))


SKILLS = (
    Skill(
        name="membership",
        category="sets",
        description="Say whether a number is in a list.",
        wordings=(
            "Is {n} in the list {items}?",
            "Is the number {n} in {items}?",
            "Is {n} one of {items}?",
            "Is {n} an element of the set {items}?",
            "Does the list {items} contain {n}?",
            "Does {n} belong to the set {items}?",
            "Can you find {n} among {items}?",
            "Is {n} among the numbers {items}?",
            "Look at {items}. Is {n} there?",
            "The list is {items}. Does it contain the number {n}?",
            "The winning numbers are {items}. I have {n}. Do I win?",
            "The bus stops at the houses {items}. Does it stop at the house {n}?",
        ),
        held_out_wordings=(
            "The numbers are {items}. Is {n} among them?",
            "Does the set {items} contain the number {n}?",
            "Can you find the number {n} in the list {items}?",
        ),
        draw=draw_membership,
        lexicon=("yes", "no"),
    ),
    Skill(
        name="common_number",
        category="sets",
        description="Find the number that two lists share.",
        wordings=(
            "Which number is in both lists: {first} and {second}?",
            "Which number do {first} and {second} share?",
            "What number do the lists {first} and {second} have in common?",
            "Find the common number of {first} and {second}.",
            "Name the number that is both in {first} and in {second}.",
            "What is the intersection of {first} and {second}?",
            "The sets are {first} and {second}. Which element is in both of them?",
            "One list is {first}, the other is {second}. Which number is in both?",
            "Ann likes {first}. Bob likes {second}. Which number do both of them like?",
            "I have the cards {first} and you have {second}. Which card do we both have?",
            "Tell me the number that appears in {first} and again in {second}.",
            "Compare {first} with {second}. Which number appears twice?",
        ),
        held_out_wordings=(
            "One list is {first}, the other is {second}. Which number do they share?",
            "Tell me the number that the lists {first} and {second} have in common.",
            "Which element is in both sets, {first} and {second}?",
        ),
        draw=draw_common,
    ),
    Skill(
        name="list_length",
        category="sets",
        description="Count the numbers or words of a list.",
        wordings=(
            "How many {kind} are in the list {items}?",
            "How many {kind} are there: {items}?",
            "How many {kind} does the list {items} have?",
            "Count the {kind}: {items}.",
            "Count the {kind} in the list {items}.",
            "How long is this list of {kind}: {items}?",
            "What is the length of the list of {kind} {items}?",
            "I write the {kind} {items}. How many do I write?",
            "The {kind} are {items}. How many are they?",
            "Tell me how many {kind} you see: {items}.",
            "My list has the {kind} {items}. How many items does it have?",
            "Give me the number of items in this list of {kind}: {items}.",
        ),
        held_out_wordings=(
            "How many {kind} do you see in the list {items}?",
            "Tell me the length of this list of {kind}: {items}.",
            "The {kind} are {items}. How many items are there?",
        ),
        draw=draw_length,
        lexicon=("numbers", "words", *ANIMALS),
    ),
)
