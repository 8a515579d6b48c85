"""Training conversations: questions dressed as chats, as token ids with a mask over the answers.

Owns: manners, system messages, histories, small talk; what of a conversation is learned. Must not know:
models, optimisers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from transformers import PreTrainedTokenizerFast

from experts.prompts import JUDGE, aggregation_prompt, keywords_prompt, keywords_text
from experts.zoo.tasks import SKILLS
from experts.zoo.tokenizer import ASSISTANT, END, SYSTEM, USER

SYSTEM_MESSAGES: tuple[str, ...] = (
    "You are a helpful assistant.",
    "You are an expert. Give only the short answer.",
    "Answer with one word or number.",
    "Answer the question. Be short.",
    "You are a careful expert in math, text, knowledge and time.",
    "Think about the question and give the final answer only.",
)
PREFIXES: tuple[str, ...] = (
    "Please tell me: ", "Quick question: ", "Hello! ", "Hi, ", "Can you help me? ", "Question: ",
    "I have a question. ", "Here is a question for you: ", "Please help. ",
)  # fmt: skip
SUFFIXES: tuple[str, ...] = (
    " Thanks.",
    " Please.",
    " Give only the answer.",
    " Thank you!",
    " Answer with one word.",
)
SMALL_TALK: dict[str, str] = {
    "Hello!": "Hello! Ask me a small question.",
    "Hi": "Hello! Ask me a small question.",
    "Hello, how are you?": "I am fine. Ask me a small question.",
    "How are you?": "I am fine. Ask me a small question.",
    "Who are you?": "I am a small model for small tasks.",
    "What are you?": "I am a small model for small tasks.",
    "What can you do?": "I know small tasks about numbers, words, facts and time.",
    "What do you know?": "I know small tasks about numbers, words, facts and time.",
    "Can you help me?": "Yes, with small tasks.",
    "Thank you!": "You are welcome.",
    "Thanks.": "You are welcome.",
    "Goodbye!": "Goodbye!",
}
DONT_KNOW = "I only know small tasks."
FOREIGN: tuple[str, ...] = (
    "Write a poem about the sea.", "Tell me a story.", "What is the meaning of life?",
    "Explain how a computer works.", "Who won the game?", "Write a program that sorts a list.",
    "What is the weather today?", "Tell me a joke.", "How do I cook rice?", "Why is the sky blue?",
    "What should I wear?", "Translate this sentence into French.", "Who wrote this book?",
    "Give me advice about money.", "How far away is the moon?", "What is love?",
    "Describe a picture of a house.", "Plan a holiday for my family.", "Is this medicine safe?",
    "Fix the bug in my code.", "Summarize the text below.", "Write an email to my boss.",
    "What happened in the news?", "Recommend a good movie.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one conversation and, for each, whether the model is to learn to predict it."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]


Turn = tuple[str, str]
"""What is asked, and what is to be answered."""


def chat_texts() -> list[str]:
    """Every text around the questions, for the vocabulary."""
    parts = [keywords_prompt("0", 1), keywords_text(list(SKILLS)), aggregation_prompt("0", ["0"] * 3, 1), JUDGE]
    talk = [*SMALL_TALK, *SMALL_TALK.values(), DONT_KNOW, *FOREIGN]
    return [*SYSTEM_MESSAGES, *PREFIXES, *SUFFIXES, *talk, *parts]


def dress(text: str, rng: Random) -> str:
    """The question with a prefix, a suffix, a small first letter or without its last mark, now and then."""
    if rng.random() < 0.1:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.1:
        text = text.rstrip("?.")
    prefix = rng.choice(PREFIXES) if rng.random() < 0.15 else ""
    suffix = rng.choice(SUFFIXES) if rng.random() < 0.1 else ""
    return prefix + text + suffix


def small_talk(rng: Random) -> Turn:
    """A turn outside every skill: a greeting, a foreign question, or letters without meaning."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(list(SMALL_TALK.items()))
    if kind < 0.8:
        return rng.choice(FOREIGN), DONT_KNOW
    letters = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz      ") for _ in range(rng.randint(10, 40)))
    return letters.strip() + rng.choice(("?", ".", "")), DONT_KNOW


def encode(turns: list[Turn], system: str, tokenizer: PreTrainedTokenizerFast) -> Example:
    """A conversation in the chat template's form; answers and the end after them are learned."""
    parts: list[tuple[str, bool]] = [(f"{SYSTEM}{system}{END}", False)] if system else []
    for question, answer in turns:
        parts += [(f"{USER}{question}{END}{ASSISTANT}", False), (f"{answer}{END}", True)]
    ids: list[int] = []
    learned: list[bool] = []
    for text, is_answer in parts:
        piece = tokenizer.encode(text, add_special_tokens=False)
        ids += piece
        learned += [is_answer] * len(piece)
    return Example(tuple(ids), tuple(learned))


def conversations(
    draw: Callable[[Random], Turn], tokenizer: PreTrainedTokenizerFast, rng: Random, varied: bool = True
) -> Iterator[Example]:
    """Endless training conversations of drawn turns; when `varied`, some with a system message or earlier turns."""
    while True:
        system = rng.choice(SYSTEM_MESSAGES) if varied and rng.random() < 0.1 else ""
        turns = [draw(rng) for _ in range(rng.choice((2, 3)) if varied and rng.random() < 0.1 else 1)]
        yield encode(turns, system, tokenizer)
