"""The committed weights: whole, matching their cards, and better than the base where they claim to be."""

import pytest

from experts.zoo.card import digest, read_card, readme
from experts.zoo.evaluate import evaluate, greedy, prompts_of
from experts.zoo.lora import adapters_of, load_adapter
from experts.zoo.make import folder_of, zoo_tokenizer
from experts.zoo.model import load_model, parameters_of, read_tensors
from experts.zoo.recipe import RECIPES, Part, Recipe
from experts.zoo.tasks import SKILLS, generate
from experts.zoo.tokenizer import load_tokenizer
from experts.zoo.train import WEIGHTS

ADAPTERS = [r for r in RECIPES if r.kind == "lora"]
SPECIALISTS = [r for r in ADAPTERS if r.part == "answers"]


def names(recipe: Recipe) -> str:
    """A recipe's name, for test ids."""
    return recipe.name


@pytest.mark.parametrize("recipe", RECIPES, ids=names)
def test_card_matches_files(recipe: Recipe) -> None:
    """A card states the digest and parameters of the file beside it, and the recipe it was made by."""
    folder = folder_of(recipe, WEIGHTS)
    card = read_card(folder)
    assert card.weights_sha256 == digest(folder / card.weights_file)
    assert card.parameters == sum(t.numel() for t in read_tensors(folder / card.weights_file).values())
    assert (card.name, card.kind, card.seed) == (recipe.name, recipe.kind, recipe.seed)
    assert (card.training_steps, card.training_shares) == (recipe.schedule.steps, dict(recipe.shares))
    assert (card.part, tuple(card.own_skills)) == (recipe.part, recipe.own if recipe.kind == "lora" else ())
    assert set(card.accuracy) == set(SKILLS)
    assert (folder / "README.md").read_text() == readme(card)


def test_weights_stay_small() -> None:
    """All files of the zoo together stay under 25 MB, each under 10 MB."""
    sizes = [f.stat().st_size for f in WEIGHTS.rglob("*") if f.is_file()]
    assert sum(sizes) < 25e6
    assert max(sizes) < 10e6


@pytest.mark.parametrize("folder", ["base", "general"])
def test_tokenizer_is_current(folder: str) -> None:
    """The committed tokenizer is the one today's tasks give: changing a wording means training again."""
    saved, fresh = load_tokenizer(WEIGHTS / folder), zoo_tokenizer()
    assert saved.get_vocab() == fresh.get_vocab()
    assert saved.chat_template == fresh.chat_template


@pytest.mark.parametrize("recipe", SPECIALISTS, ids=names)
def test_specialist_beats_base(recipe: Recipe) -> None:
    """By their cards, an adapter answers more questions of every one of its own skills rightly than its base does."""
    own, base = read_card(folder_of(recipe, WEIGHTS)).accuracy, read_card(WEIGHTS / "base").accuracy
    gains = {skill: own[skill]["correct"] - base[skill]["correct"] for skill in recipe.own}
    assert len(gains) >= 3
    assert all(gain > 0 for gain in gains.values()), gains


def test_adapters_overlap_and_differ() -> None:
    """At least twelve answer; some skills have several experts, and no two experts are for the same skills."""
    assert len(SPECIALISTS) >= 12
    owners = {skill: [r.name for r in SPECIALISTS if skill in r.own] for skill in SKILLS}
    assert all(owners.values())
    assert sum(len(names) > 1 for names in owners.values()) >= 10
    assert len({frozenset(r.own) for r in SPECIALISTS}) == len(SPECIALISTS)


def test_the_generalist_is_the_stronger_all_rounder() -> None:
    """Over all skills together it answers more rightly than the base and than any single adapter."""
    total = {
        r.name: sum(row["correct"] for row in read_card(folder_of(r, WEIGHTS)).accuracy.values())
        for r in RECIPES
        if r.part == "answers"
    }
    assert max(total, key=lambda name: total[name]) == "general"


def test_the_keyword_adapter_names_skills() -> None:
    """In wordings never seen it names at least nine of ten skills exactly."""
    rows = read_card(WEIGHTS / "lora" / "keywords").accuracy.values()
    assert sum(row["accuracy"] for row in rows) / len(rows) >= 0.9


def test_the_aggregator_judges_better_than_chance() -> None:
    """Of one right and two wrong responses it gives the right answer more often than picking would, in most skills."""
    rows = read_card(WEIGHTS / "lora" / "aggregator").accuracy.values()
    assert sum(row["low"] > 1 / 3 for row in rows) > len(rows) / 2


@pytest.mark.parametrize("name", ["keywords", "aggregator"])
def test_a_special_adapter_beats_the_base_at_its_part(name: Part) -> None:
    """The base was never asked such things; four skills, fifty of the card's very questions each."""
    network, tokenizer = load_model(WEIGHTS / "base"), load_tokenizer(WEIGHTS / "base")
    skills = ("addition", "reversal", "capitals", "membership")
    bare = evaluate(network, tokenizer, name, skills, 50)
    stated = read_card(WEIGHTS / "lora" / name).accuracy
    assert all(stated[skill]["accuracy"] > bare[skill].accuracy for skill in skills)


def test_base_and_general_load() -> None:
    """The two models have the sizes their cards state, in different architectures."""
    base, general = load_model(WEIGHTS / "base"), load_model(WEIGHTS / "general")
    assert parameters_of(base) == read_card(WEIGHTS / "base").parameters
    assert parameters_of(general) == read_card(WEIGHTS / "general").parameters
    assert base.config.model_type != general.config.model_type


def test_card_can_be_measured_again() -> None:
    """Measuring a specialist again gives the card's counts (one skill, its first 200 questions)."""
    network, tokenizer = load_model(WEIGHTS / "base"), load_tokenizer(WEIGHTS / "base")
    load_adapter(network, WEIGHTS / "lora" / "knowledge")
    assert len(adapters_of(network)) == 7 * network.config.num_hidden_layers
    stated = read_card(WEIGHTS / "lora" / "knowledge").accuracy["capitals"]
    score = evaluate(network, tokenizer, "answers", ["capitals"], int(stated["n"]))["capitals"]
    assert abs(score.correct - stated["correct"]) <= 1  # another processor may break one tie otherwise


def test_chat_survives_history_and_system() -> None:
    """With a system message and earlier turns, the generalist still gives the answer and nothing more."""
    network, tokenizer = load_model(WEIGHTS / "general"), load_tokenizer(WEIGHTS / "general")
    history = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of Italy?"},
        {"role": "assistant", "content": "Rome"},
    ]
    questions = generate("capitals", 40, 9)
    plain = greedy(network, tokenizer, prompts_of([q.text for q in questions], tokenizer))
    chats = [[*history, {"role": "user", "content": q.text}] for q in questions]
    prompts = [tokenizer.apply_chat_template(c, add_generation_prompt=True, return_dict=False) for c in chats]
    answers = greedy(network, tokenizer, prompts)
    assert sum(a == b for a, b in zip(answers, plain, strict=True)) >= 36


def test_folders_hold_no_more() -> None:
    """Each folder holds exactly the files an engine and a reader need."""
    model_files = {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json",
                   "tokenizer_config.json", "chat_template.jinja", "card.json", "README.md"}  # fmt: skip
    adapter_files = {"adapter_config.json", "adapter_model.safetensors", "card.json", "README.md"}
    for recipe in RECIPES:
        files = {f.name for f in folder_of(recipe, WEIGHTS).iterdir()}
        assert files == (adapter_files if recipe.kind == "lora" else model_files)
