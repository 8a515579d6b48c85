"""Measuring an expert: greedy answers to held-out questions, counted per skill with intervals.

Owns: decoding without an engine, scoring. Must not know: training, files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from experts.zoo.records import Question
from experts.zoo.tasks import generate

EVALUATION_SEED = 2026
MAX_ANSWER_TOKENS = 12
NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Score:
    """`correct` answers out of `n`, with the 95 % interval of Wilson (1927) for the share."""

    correct: int
    n: int

    @property
    def accuracy(self) -> float:
        """Share of correct answers."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the Wilson score interval."""
        z2 = NORMAL_95**2
        centre = (self.correct + z2 / 2) / (self.n + z2)
        spread = self.correct * (self.n - self.correct) / self.n + z2 / 4
        half = NORMAL_95 * math.sqrt(spread) / (self.n + z2)
        return max(0.0, centre - half), min(1.0, centre + half)


def prompts_of(questions: Sequence[Question], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Token ids of each question as a one-turn chat, up to where the answer begins."""
    chats = [[{"role": "user", "content": q.text}] for q in questions]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [tokenizer.encode(text, add_special_tokens=False) for text in texts]


@torch.inference_mode()
def greedy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[Sequence[int]]) -> list[str]:
    """Greedy answers to a batch of prompts, without special tokens, at most `MAX_ANSWER_TOKENS` long.

    Rows are padded on the right and each step reads the logits at a row's own end, so no mask is needed.
    """
    rows = torch.arange(len(prompts))
    ends = torch.tensor([len(p) for p in prompts])
    ids = torch.full((len(prompts), int(ends.max()) + MAX_ANSWER_TOKENS), tokenizer.pad_token_id)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    open_rows = torch.ones(len(prompts), dtype=torch.bool)
    for _ in range(MAX_ANSWER_TOKENS):
        hidden = model.base_model(input_ids=ids[:, : int(ends.max())], use_cache=False).last_hidden_state
        chosen = model.get_output_embeddings()(hidden[rows, ends - 1]).argmax(-1)
        open_rows &= chosen != tokenizer.eos_token_id
        if not open_rows.any():
            break
        ids[rows[open_rows], ends[open_rows]] = chosen[open_rows]
        ends += open_rows
    return [
        tokenizer.decode(ids[row, len(prompt) : int(ends[row])], skip_special_tokens=True)
        for row, prompt in enumerate(prompts)
    ]


def evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, skills: Iterable[str], n: int
) -> dict[str, Score]:
    """Score per skill on `n` held-out questions each, the same for all experts; answers match exactly."""
    scores: dict[str, Score] = {}
    for skill in skills:
        questions = generate(skill, n, EVALUATION_SEED, held_out=True)
        answers = greedy(model, tokenizer, prompts_of(questions, tokenizer))
        scores[skill] = Score(sum(a == q.answer for a, q in zip(answers, questions, strict=True)), n)
    return scores
