"""Category `text`: words as strings of letters, real and invented ones, in lower case."""

from random import Random

from experts.zoo.records import Payload, Skill

REAL_WORDS: tuple[str, ...] = tuple(
    """
    acorn actor agent alarm album angel ankle apron arrow aspen bacon badge bagel baker basil beach berry
    blade blaze bloom board brave bread brick bridge broom brush cabin cable camel candle canoe cargo cedar
    chair chalk charm cherry chess clay cliff cloud clover coast cobra comet coral cradle crane cream crow
    crown daisy dance delta desk dolphin donkey dragon drum eagle ember engine fable falcon feather fern
    field flame flute fox frog garden ghost ginger glove grape grass guitar hammer harbor hazel helmet honey
    horse ink ivory jacket jelly jewel juice kettle kite ladder lamp lemon linen lizard llama magnet maple
    marble meadow melon mint mirror monkey moss mule needle nest oak oasis ocean olive onion orbit otter owl
    paint panda paper pearl pebble pencil piano pilot pine planet plum pocket pony poppy potato prism puppet
    quilt rabbit radar raven ribbon river robin rocket rope saddle salad satin scarf seal shell ship silk
    skate snail snow spark spoon squid star stone storm sugar sun swan tiger toast torch tulip turtle
    umbrella velvet violin wagon walnut whale wheat willow wolf wool yacht zebra
    """.split()
)
CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"


def invent_word(rng: Random, length: int) -> str:
    """A word of `length` letters, consonants and vowels mostly in turn, so that clusters as in real words occur."""
    vowel_next = rng.random() < 0.5
    word = ""
    for _ in range(length):
        word += rng.choice(VOWELS if vowel_next else CONSONANTS)
        vowel_next = not vowel_next if rng.random() < 0.7 else rng.random() < 0.4
    return word


def draw_word(rng: Random, longest: int) -> str:
    """A word of three to `longest` letters; a third of them real."""
    if rng.random() < 1 / 3:
        return rng.choice([word for word in REAL_WORDS if len(word) <= longest])
    return invent_word(rng, rng.randint(3, longest))


def draw_reversal(rng: Random) -> Payload:
    """A word of three to six letters; the answer is the same letters from last to first."""
    word = draw_word(rng, 6)
    return Payload({"word": word}, word[::-1])


def draw_last_letter(rng: Random) -> Payload:
    """A word of three to eight letters; the answer is its last letter."""
    word = draw_word(rng, 8)
    return Payload({"word": word}, word[-1])


def draw_letter_count(rng: Random) -> Payload:
    """A word of three to eight letters; the answer is how many letters it has."""
    word = draw_word(rng, 8)
    return Payload({"word": word}, str(len(word)))


SKILLS = (
    Skill(
        name="reversal",
        category="text",
        description="Write a word backwards.",
        wordings=(
            'Reverse the word "{word}".',
            "Reverse the word {word}.",
            'What is "{word}" written backwards?',
            "Write the word {word} backwards.",
            'Spell "{word}" backwards.',
            "Spell the word {word} in reverse.",
            'Can you spell "{word}" backwards?',
            'How do you write "{word}" in reverse?',
            "Turn the word {word} around.",
            'Give me the letters of "{word}" in reverse order.',
            "Write the letters of {word} from last to first.",
            'What do you get if you reverse "{word}"?',
            "The word is {word}. Reverse it.",
        ),
        held_out_wordings=(
            'Write "{word}" in reverse order.',
            "How do you spell the word {word} backwards?",
            'Give me the word "{word}" written in reverse.',
        ),
        draw=draw_reversal,
    ),
    Skill(
        name="last_letter",
        category="text",
        description="Name the last letter of a word.",
        wordings=(
            'What is the last letter of "{word}"?',
            "What is the last letter of the word {word}?",
            'Name the last letter in "{word}".',
            "Which letter comes last in {word}?",
            'Which letter does "{word}" end with?',
            "With which letter does the word {word} end?",
            'Tell me the final letter of "{word}".',
            "The word is {word}. What is its final letter?",
            'Give me the last letter of the word "{word}".',
            "Find the letter at the end of {word}.",
            'What letter is at the end of "{word}"?',
            "Which is the final letter in the word {word}?",
            'The word "{word}" ends with which letter?',
        ),
        held_out_wordings=(
            'Name the letter at the end of the word "{word}".',
            "Which letter is last in {word}?",
            'Tell me which letter the word "{word}" ends with.',
        ),
        draw=draw_last_letter,
    ),
    Skill(
        name="letter_count",
        category="text",
        description="Count the letters of a word.",
        wordings=(
            'How many letters are in "{word}"?',
            "How many letters are in the word {word}?",
            'How many letters does "{word}" have?',
            "How many letters does the word {word} have?",
            'Count the letters in "{word}".',
            "Count the letters of the word {word}.",
            'How long is the word "{word}"?',
            "What is the length of {word}?",
            'What is the length of the word "{word}"?',
            "Tell me how many letters {word} has.",
            'The word is "{word}". How many letters does it have?',
            "Give me the number of letters in {word}.",
        ),
        held_out_wordings=(
            'Tell me the length of the word "{word}".',
            "What is the number of letters in the word {word}?",
            'How many letters are there in the word "{word}"?',
        ),
        draw=draw_letter_count,
    ),
)
