"""What a token takes of an engine's time: which loads tell it, and how it follows from what they took. Pure.

A price is frozen with a configuration, so it is measured once, at the batch size that an operator means to run:
seconds of one replica = a x tokens of prompts + b x tokens of answers. Must not know how loads are run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np

from experts.tokens import TokenCounter

PROMPT_TOKENS, OUTPUT_TOKENS = 1024, 256  # the longer lengths, where context allows
SHORTER = 8  # so many times
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Load:
    """The shape of a load's requests: tokens of each prompt, about, and of each answer, exactly."""

    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Run:
    """What a load came to: tokens of all its requests, and seconds of one replica."""

    load: Load
    prompt_tokens: int
    output_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds of one replica that a token takes, of a prompt and of an answer.

    `residual`: how far the runs are from it, each by its own seconds: the root of the mean square.
    """

    input_s: float
    output_s: float
    residual: float

    def seconds(self, run: Run) -> float:
        return self.input_s * run.prompt_tokens + self.output_s * run.output_tokens


def loads(context_tokens: int, most_output_tokens: int) -> tuple[Load, ...]:
    """Prompts of two lengths by answers of two: the four that tell the two apart, within what an expert takes."""
    prompt = min(PROMPT_TOKENS, context_tokens // 2)
    output = min(OUTPUT_TOKENS, context_tokens // 4, most_output_tokens)
    return tuple(
        Load(max(1, p), max(1, o)) for p, o in product((prompt // SHORTER, prompt), (output // SHORTER, output))
    )


def prompt(counter: TokenCounter, tokens: int, seed: int) -> str:
    """A text of at most so many tokens that begins like no other seed's: no engine finds it in its prefix cache."""
    source = Random(seed)
    words = ["".join(source.choices(LETTERS, k=5)) for _ in range(tokens)]  # a word is a token, or more
    while len(words) > 1 and (over := counter.count([" ".join(words)]) / tokens) > 1:
        words = words[: max(1, min(len(words) - 1, int(len(words) / over)))]
    return " ".join(words)


def taken(runs: Sequence[Run]) -> Taken:
    """Least squares over relative errors, so that a short load says as much as a long one; nothing is below zero.

    Raises ValueError where the runs do not tell prompts and answers apart.
    """
    shares = np.array([[run.prompt_tokens, run.output_tokens] for run in runs], dtype=np.float64)
    shares /= np.array([[run.seconds] for run in runs])
    if np.linalg.matrix_rank(shares) < 2:
        raise ValueError("the loads do not tell prompts and answers apart: their lengths must differ")
    found = np.linalg.lstsq(shares, np.ones(len(runs)), rcond=None)[0]
    if found.min() < 0:  # the other alone: with two of them that is the best within the bound
        other = shares[:, int(found.argmax())]
        found = np.where(found < 0, 0.0, other.sum() / (other @ other))
    residual = float(np.sqrt(np.mean((shares @ found - 1) ** 2)))
    return Taken(float(found[0]), float(found[1]), residual)
