"""Measuring an expert: greedy answers to held-out questions, counted per skill with intervals.

Owns: decoding without an engine, scoring. Must not know: training, files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from experts.intervals import wilson
from experts.zoo.chat import Turn
from experts.zoo.parts import name_skills, panel
from experts.zoo.recipe import Part
from experts.zoo.tasks import SKILLS, generate

EVALUATION_SEED = 2026
MAX_ANSWER_TOKENS = 12


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
        """Lower and upper end of Wilson's score interval."""
        return wilson(self.correct, self.n)


def prompts_of(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Token ids of each text as a one-turn chat, up to where the answer begins."""
    chats = [[{"role": "user", "content": text}] for text in texts]
    dressed = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [tokenizer.encode(text, add_special_tokens=False) for text in dressed]


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


def held_out_turns(part: Part, skill: str, n: int) -> list[Turn]:
    """The `n` turns that measure one skill, the same for all experts of a part.

    An aggregator reads one right and two wrong responses to each question (Symbolic-MoE's test of aggregators).
    """
    if part == "aggregator":
        rng = Random(f"{skill}/{EVALUATION_SEED}/panel")
        panels = [panel(SKILLS[skill], rng, right=1, held_out=True) for _ in range(n)]
        return [(p.prompt, p.question.answer) for p in panels]
    questions = generate(skill, n, EVALUATION_SEED, held_out=True)
    return [name_skills(q) if part == "keywords" else (q.text, q.answer) for q in questions]


def evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, part: Part, skills: Iterable[str], n: int
) -> dict[str, Score]:
    """Score per skill on `n` held-out turns each; answers match exactly."""
    scores: dict[str, Score] = {}
    for skill in skills:
        turns = held_out_turns(part, skill, n)
        answers = greedy(model, tokenizer, prompts_of([asked for asked, _ in turns], tokenizer))
        scores[skill] = Score(sum(a == right for a, (_, right) in zip(answers, turns, strict=True)), n)
    return scores
