"""One expert, made: a recipe in, a folder with weights and cards out.

Owns: the order of work for one expert and the folders' names. Must not know: the command line, other
processes, how a loss is computed, what a card looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from experts.zoo import lora, model
from experts.zoo.card import Card, accuracy_rows, digest, write_card
from experts.zoo.chat import Turn, chat_texts, conversations, dress, small_talk
from experts.zoo.evaluate import evaluate
from experts.zoo.fit import Batch, OnStep, batches, fit
from experts.zoo.parts import draw_panel, name_skills
from experts.zoo.recipe import LORA_ALPHA, LORA_RANK, Recipe
from experts.zoo.tasks import SKILLS, ask
from experts.zoo.tokenizer import build_tokenizer, load_tokenizer, training_texts


def folder_of(recipe: Recipe, out: Path) -> Path:
    """Where an expert's files go: `base/`, `general/`, `lora/<name>/`."""
    return out / "lora" / recipe.name if recipe.kind == "lora" else out / recipe.name


def zoo_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of this version of the tasks."""
    return build_tokenizer(training_texts(tuple(SKILLS.values()), chat_texts()))


def turn_of(recipe: Recipe, rng: Random) -> Turn:
    """One training turn of a recipe's part, on a skill drawn by its shares."""
    if rng.random() < recipe.small_talk:
        return small_talk(rng)
    skill = SKILLS[rng.choices(list(recipe.shares), list(recipe.shares.values()))[0]]
    if recipe.part == "aggregator":
        panel = draw_panel(skill, rng)
        return panel.prompt, panel.question.answer
    question = ask(skill, rng)
    dressed = replace(question, text=dress(question.text, rng))
    return name_skills(dressed) if recipe.part == "keywords" else (dressed.text, question.answer)


def stream_of(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    """The recipe's endless training batches, the same for the same seed."""
    rng = Random(recipe.seed)
    varied = recipe.part == "answers"
    talks = conversations(lambda r: turn_of(recipe, r), tokenizer, rng, varied)
    return batches(talks, recipe.schedule.batch, tokenizer.convert_tokens_to_ids(tokenizer.pad_token), rng)


def start(recipe: Recipe, out: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, list[nn.Parameter]]:
    """What a recipe begins from: the model, its tokenizer, and the parameters to train."""
    if recipe.kind == "lora":
        network, tokenizer = model.load_model(out / "base"), load_tokenizer(out / "base")
        torch.manual_seed(recipe.seed)
        return network, tokenizer, lora.inject(network, LORA_RANK, LORA_ALPHA)
    tokenizer = zoo_tokenizer()
    config = (model.base_config if recipe.kind == "base" else model.general_config)(tokenizer)
    network = model.build(config, recipe.seed)
    return network, tokenizer, list(network.parameters())


def save(recipe: Recipe, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> Path:
    """Writes the expert's weights, rounds the network in memory to them, and returns the weights file."""
    folder = folder_of(recipe, out)
    if recipe.kind == "lora":
        weights = lora.save_adapter(network, folder, base_name="base")
    else:
        weights = model.save_model(network, tokenizer, folder)
    model.round_to_disk(network)
    return weights


def make(recipe: Recipe, out: Path, questions: int, on_step: OnStep) -> Card:
    """Trains, saves, measures (`questions` held-out ones a skill; none for 0) and documents one expert.

    An adapter needs the base's folder in `out`.
    """
    network, tokenizer, parameters = start(recipe, out)
    fit(network, parameters, stream_of(recipe, tokenizer), recipe.schedule, on_step)
    weights = save(recipe, network, tokenizer, out)
    card = Card(
        name=recipe.name,
        kind=recipe.kind,
        part=recipe.part,
        architecture=type(network).__name__ + (f" + LoRA rank {LORA_RANK}" if recipe.kind == "lora" else ""),
        parameters=sum(p.numel() for p in parameters),
        training_steps=recipe.schedule.steps,
        training_batch=recipe.schedule.batch,
        training_shares=dict(recipe.shares),
        seed=recipe.seed,
        weights_file=weights.name,
        weights_sha256=digest(weights),
        own_skills=recipe.own if recipe.kind == "lora" else (),
        accuracy=accuracy_rows(evaluate(network, tokenizer, recipe.part, SKILLS, questions) if questions else {}),
    )
    write_card(card, weights.parent)
    return card
