"""Models, adapters, training and cards of the zoo, on sizes that train in seconds."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from transformers import AutoModelForCausalLM, PreTrainedModel

from experts.zoo import lora, model
from experts.zoo.card import digest, read_card
from experts.zoo.evaluate import Score, greedy, prompts_of
from experts.zoo.fit import Schedule, fit
from experts.zoo.make import make, start, stream_of, zoo_tokenizer
from experts.zoo.recipe import RECIPES, Recipe
from experts.zoo.tasks import SKILLS, generate
from experts.zoo.train import make_all, options_from, scaled

TOKENIZER = zoo_tokenizer()
BY_NAME = {r.name: r for r in RECIPES}
ODD = torch.tensor([[7, 8, 9, 10, 11]])


def tiny(name: str) -> Recipe:
    """The recipe of an expert, cut to two steps of four conversations."""
    recipe = BY_NAME[name]
    return replace(recipe, schedule=replace(recipe.schedule, steps=2, batch=4))


def quiet(step: int, loss: float) -> None:
    """Hears a step and says nothing."""


def small_base() -> PreTrainedModel:
    """A base of one layer, untrained."""
    return model.build(model.base_config(TOKENIZER, hidden=64, layers=1), seed=0)


def shake(network: torch.nn.Module) -> None:
    """Gives every adapter a B that is not zero."""
    torch.manual_seed(3)
    for layer in lora.adapters_of(network).values():
        torch.nn.init.normal_(layer.lora_B, std=0.1)


@pytest.mark.parametrize("config", [model.base_config, model.general_config])
def test_saved_model_is_the_model(config: object, tmp_path: Path) -> None:
    """A saved folder gives back the logits of the rounded weights; tied embeddings are stored once."""
    network = model.build(config(TOKENIZER, hidden=128, layers=1), seed=0)  # type: ignore[operator]  # either of two
    path = model.save_model(network, TOKENIZER, tmp_path)
    model.round_to_disk(network)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(loaded(ODD).logits, network(ODD).logits)
    assert "lm_head.weight" not in model.read_tensors(path)
    assert loaded.generation_config.eos_token_id == TOKENIZER.eos_token_id


def test_fresh_adapter_changes_nothing() -> None:
    """An injected adapter starts as the identity and is all that can be trained."""
    network = small_base()
    before = network(ODD).logits
    parameters = lora.inject(network, rank=8, alpha=16)
    torch.testing.assert_close(network(ODD).logits, before)
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(p) for p in parameters}
    assert len(lora.adapters_of(network)) == len(lora.TARGETS)


def test_loaded_adapter_equals_merged_weights(tmp_path: Path) -> None:
    """Saving and loading an adapter, and folding it into the weights, give the same logits."""
    network = small_base()
    lora.inject(network, rank=8, alpha=16)
    shake(network)
    lora.save_adapter(network, tmp_path, base_name="base")
    model.round_to_disk(network)
    loaded = small_base()
    model.round_to_disk(loaded)
    lora.load_adapter(loaded, tmp_path)
    adapted = network(ODD).logits
    torch.testing.assert_close(loaded(ODD).logits, adapted)
    lora.merge(network)
    assert lora.adapters_of(network) == {}
    torch.testing.assert_close(network(ODD).logits, adapted, atol=1e-5, rtol=1e-4)


def test_greedy_equals_generate() -> None:
    """Our batched decoding says what Hugging Face's own says, one prompt at a time."""
    network = small_base()
    network.generation_config.eos_token_id = TOKENIZER.eos_token_id
    prompts = prompts_of([generate(skill, 1, 0)[0].text for skill in SKILLS], TOKENIZER)
    one_by_one = [
        network.generate(torch.tensor([p]), attention_mask=torch.ones(1, len(p), dtype=torch.long),
                         max_new_tokens=12, do_sample=False, pad_token_id=TOKENIZER.pad_token_id)[0, len(p) :]
        for p in prompts
    ]  # fmt: skip
    expected = [TOKENIZER.decode(ids, skip_special_tokens=True) for ids in one_by_one]
    assert greedy(network, TOKENIZER, prompts) == expected


def test_batches_are_padded_on_the_right() -> None:
    """A batch keeps each row's tokens from the left, and learns nothing from padding or questions."""
    batch = next(stream_of(tiny("general"), TOKENIZER))
    learned = batch.ids[:, 1:][batch.learned]
    assert batch.ids.shape[1] == batch.learned.shape[1] + 1
    assert (learned != TOKENIZER.pad_token_id).all()
    assert (learned == TOKENIZER.eos_token_id).sum() >= len(batch.ids)


def test_training_repeats_itself(tmp_path: Path) -> None:
    """The real path (base, adapter, generalist) gives the same weights every time, and matching cards."""
    for folder in (tmp_path / "a", tmp_path / "b"):
        for name in ("base", "math", "keywords", "aggregator", "general"):
            make(tiny(name), folder, questions=1 if name == "general" else 0, on_step=quiet)
    for place in ("base", "lora/math", "lora/keywords", "lora/aggregator", "general"):
        card = read_card(tmp_path / "a" / place)
        assert card == read_card(tmp_path / "b" / place)
        assert card.weights_sha256 == digest(tmp_path / "b" / place / card.weights_file)
    assert set(read_card(tmp_path / "a/general").accuracy) == set(SKILLS)


def test_training_learns() -> None:
    """A handful of steps on one skill lowers its loss."""
    recipe = replace(tiny("base"), shares={"capitals": 1.0}, small_talk=0.0, schedule=Schedule(10, 3e-3, batch=8))
    network, tokenizer, parameters = start(recipe, Path())
    losses: list[float] = []
    fit(
        network,
        parameters,
        stream_of(recipe, tokenizer),
        recipe.schedule,
        lambda _, loss: losses.append(loss),
    )
    assert losses[-1] < 0.8 * losses[0]


def test_adapter_waits_for_its_base(tmp_path: Path) -> None:
    """The command trains an adapter only when its base is there, whatever the order of recipes."""
    with Progress(console=Console(quiet=True)) as progress, ThreadPoolExecutor(1) as pool:
        cards = list(make_all([tiny("math"), tiny("base")], tmp_path, 0, pool, Queue(), progress))
    assert [c.name for c in cards] == ["base", "math"]
    assert [t.completed for t in progress.tasks] == [2, 2]


def test_options() -> None:
    """--only narrows, --steps-scale shortens to two steps at least, the default folder is the room's own."""
    options = options_from(["--only", "math", "--steps-scale", "0.5"])
    assert options.only == ["math"]
    assert options.out.parts[-3:] == ("experts", "zoo", "weights")
    assert scaled(BY_NAME["base"], 0.5).schedule.steps == BY_NAME["base"].schedule.steps // 2
    assert scaled(BY_NAME["base"], 0.0).schedule.steps == 2


def test_rate_rises_then_falls() -> None:
    """The learning rate warms up to its peak and ends at a fiftieth of it."""
    schedule = Schedule(steps=100, peak_rate=1.0)
    rates = [schedule.rate(step) for step in range(101)]
    assert max(rates) == rates[4] == 1.0
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[100] == pytest.approx(0.02)


def test_interval_is_wilsons() -> None:
    """Wilson's interval agrees with worked values and stays inside 0 to 1."""
    assert Score(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Score(0, 10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert Score(200, 200).interval == pytest.approx((0.9812, 1.0), abs=1e-4)
