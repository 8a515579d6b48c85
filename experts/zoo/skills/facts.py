"""Category `knowledge`: a small closed base of facts, learned by heart."""

from random import Random

from experts.zoo.records import Payload, Skill

CAPITALS: dict[str, str] = dict(
    pair.split(":")
    for pair in """
    France:Paris Germany:Berlin Italy:Rome Spain:Madrid Portugal:Lisbon Austria:Vienna Greece:Athens
    Poland:Warsaw Hungary:Budapest Norway:Oslo Sweden:Stockholm Finland:Helsinki Denmark:Copenhagen
    Ireland:Dublin Iceland:Reykjavik Belgium:Brussels Switzerland:Bern Romania:Bucharest Bulgaria:Sofia
    Croatia:Zagreb Serbia:Belgrade Ukraine:Kyiv Estonia:Tallinn Latvia:Riga Lithuania:Vilnius Turkey:Ankara
    Egypt:Cairo Kenya:Nairobi Morocco:Rabat Ghana:Accra Senegal:Dakar Nigeria:Abuja Japan:Tokyo China:Beijing
    Thailand:Bangkok Vietnam:Hanoi Indonesia:Jakarta Nepal:Kathmandu Iran:Tehran Iraq:Baghdad Canada:Ottawa
    Cuba:Havana Peru:Lima Chile:Santiago Colombia:Bogota Ecuador:Quito Uruguay:Montevideo Australia:Canberra
    """.split()
)
SYMBOLS: dict[str, str] = dict(
    pair.split(":")
    for pair in """
    hydrogen:H helium:He lithium:Li beryllium:Be boron:B carbon:C nitrogen:N oxygen:O fluorine:F neon:Ne
    sodium:Na magnesium:Mg aluminium:Al silicon:Si phosphorus:P sulfur:S chlorine:Cl argon:Ar potassium:K
    calcium:Ca titanium:Ti chromium:Cr manganese:Mn iron:Fe cobalt:Co nickel:Ni copper:Cu zinc:Zn arsenic:As
    bromine:Br krypton:Kr silver:Ag tin:Sn iodine:I xenon:Xe barium:Ba platinum:Pt gold:Au mercury:Hg lead:Pb
    radon:Rn uranium:U
    """.split()
)
ROMAN = ((50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


def to_roman(number: int) -> str:
    """`number` (1 to 89) as a roman numeral in the subtractive form."""
    digits = ""
    for value, numeral in ROMAN:
        count, number = divmod(number, value)
        digits += numeral * count
    return digits


def draw_capital(rng: Random) -> Payload:
    """A country; the answer is its capital."""
    country = rng.choice(list(CAPITALS))
    return Payload({"country": country}, CAPITALS[country])


def draw_symbol(rng: Random) -> Payload:
    """A chemical element; the answer is its symbol."""
    element = rng.choice(list(SYMBOLS))
    return Payload({"element": element}, SYMBOLS[element])


def draw_roman(rng: Random) -> Payload:
    """A number from 1 to 60; the answer is its roman numeral."""
    number = rng.randint(1, 60)
    return Payload({"n": str(number)}, to_roman(number))


SKILLS = (
    Skill(
        name="capitals",
        category="knowledge",
        description="Name the capital of a country.",
        wordings=(
            "What is the capital of {country}?",
            "What is the capital city of {country}?",
            "Name the capital of {country}.",
            "Which city is the capital of {country}?",
            "Tell me the capital of {country}.",
            "The capital of {country} is called what?",
            "What do you call the capital of {country}?",
            "{country} has which capital city?",
            "Which capital does {country} have?",
            "I am going to the capital of {country}. Which city is it?",
            "Give me the name of the capital of {country}.",
            "What is the name of the capital city in {country}?",
        ),
        held_out_wordings=(
            "Tell me the name of the capital city of {country}.",
            "Which city is called the capital of {country}?",
            "What capital does {country} have?",
        ),
        draw=draw_capital,
        lexicon=(*CAPITALS, *CAPITALS.values()),
        memorised=True,
    ),
    Skill(
        name="chemical_symbols",
        category="knowledge",
        description="Give the chemical symbol of an element.",
        wordings=(
            "What is the chemical symbol of {element}?",
            "What is the chemical symbol for {element}?",
            "What is the symbol of the element {element}?",
            "Which symbol does {element} have?",
            "Which chemical symbol stands for {element}?",
            "Name the chemical symbol of {element}.",
            "Give me the symbol for the element {element}.",
            "How do you write {element} in chemistry?",
            "In chemistry, what stands for {element}?",
            "Tell me the symbol of {element}.",
            "The element {element} has which symbol?",
            "In the periodic table, what is the symbol of {element}?",
        ),
        held_out_wordings=(
            "Tell me the chemical symbol for the element {element}.",
            "In chemistry, which symbol does {element} have?",
            "What stands for {element} in the periodic table?",
        ),
        draw=draw_symbol,
        lexicon=tuple(SYMBOLS),
        memorised=True,
    ),
    Skill(
        name="roman_numerals",
        category="knowledge",
        description="Write a number from 1 to 60 as a roman numeral.",
        wordings=(
            "What is {n} in roman numerals?",
            "Write {n} in roman numerals.",
            "Write the number {n} as a roman numeral.",
            "What is the roman numeral for {n}?",
            "How do you write {n} in roman numerals?",
            "Give me the roman numeral for {n}.",
            "Turn {n} into a roman numeral.",
            "Which roman numeral stands for {n}?",
            "How did the Romans write {n}?",
            "How would the Romans write the number {n}?",
            "Tell me {n} as a roman numeral.",
            "The number is {n}. What is it in roman numerals?",
        ),
        held_out_wordings=(
            "Turn the number {n} into roman numerals.",
            "Which roman numeral did the Romans write for {n}?",
            "Tell me the roman numeral of the number {n}.",
        ),
        draw=draw_roman,
        memorised=True,
    ),
)
