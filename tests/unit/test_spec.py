"""What an operator writes about engines and experts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from experts.spec import RESERVED_ARGS, Autoscaling, Engine, Limits, Name, Price
from tests.unit.make import PRICE, expert

CPU: dict[str, Any] = {"model": "org/m", "accelerator": "cpu"}


def test_a_price_is_dollars_per_million_tokens() -> None:
    """1 000 prompt and 500 output tokens at 2 and 4 dollars per million: 0.004 dollars."""
    assert Price(input_usd_per_mtok=2, output_usd_per_mtok=4).usd(1000, 500) == pytest.approx(0.004)


BY_TIME: dict[str, Any] = {"usd_per_hour": 3.6, "input_s_per_mtok": 100, "output_s_per_mtok": 2000, "batch": 32}


def test_a_price_may_be_what_tokens_take_of_an_engine() -> None:
    """At 3.60 dollars an hour, a tenth of a cent a second: 1 000 prompt tokens take 0.1 s, 500 output tokens 1 s."""
    price = Price(**BY_TIME)
    assert price.usd(1000, 500) == pytest.approx(0.0011)
    assert price.usd_per_mtok == pytest.approx((0.1, 2.0))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "missing: an owned GPU is not free"),
        ({"output_usd_per_mtok": 1}, "input_usd_per_mtok: missing: an owned GPU is not free"),
        *(({k: v for k, v in BY_TIME.items() if k != name}, f"{name}: missing: a price by an") for name in BY_TIME),
        (BY_TIME | {"input_usd_per_mtok": 1}, "not of both"),
        (BY_TIME | {"batch": 0}, "batch"),
    ],
)
def test_a_price_is_of_exactly_one_form(fields: dict[str, Any], why: str) -> None:
    """By token or by time; what is missing of it is said, and a mixture refused."""
    with pytest.raises(ValidationError, match=why):
        Price(**fields)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf")])
def test_a_price_is_a_finite_number(bad: float) -> None:
    """Neither negative nor infinite nor no number at all."""
    with pytest.raises(ValidationError):
        Price(input_usd_per_mtok=bad, output_usd_per_mtok=0)


@pytest.mark.parametrize("key", sorted(RESERVED_ARGS))
def test_arguments_that_are_ours_are_refused_in_every_spelling(key: str) -> None:
    """With dashes, underscores or leading dashes: set by symposium."""
    for spelling in {key, key.replace("-", "_"), f"--{key}"}:
        with pytest.raises(ValidationError, match="is set by symposium"):
            Engine(**CPU, args={spelling: "x"})


@pytest.mark.parametrize("key", ["max_model_len", "--dtype"])
def test_other_arguments_are_written_as_on_vllms_command_line(key: str) -> None:
    """One spelling only, so that nothing is given twice; the message shows it."""
    with pytest.raises(ValidationError, match="write it as vLLM's command line does"):
        Engine(**CPU, args={key: 1})


def test_argument_values_keep_their_types() -> None:
    """true stays true and 1 stays 1: vLLM's flags and numbers differ."""
    args: dict[str, Any] = {"a": True, "b": 1, "c": 1.5, "d": "1", "e": None, "f": [1, "x"], "g": {"k": [1]}}
    found = Engine(**CPU, args=args).args
    assert found == args
    assert [type(v) for v in found.values()] == [type(v) for v in args.values()]


@pytest.mark.parametrize(
    "fields", [{"accelerator": "gpu"}, {"gpus": 1}, {"accelerator": "tpu"}, {"replicas": 0}, {"cpus": -1}]
)
def test_an_engine_that_cannot_be_placed_is_refused(fields: dict[str, Any]) -> None:
    """A GPU engine needs GPUs, a CPU engine takes none."""
    with pytest.raises(ValidationError):
        Engine(**(CPU | fields))


@pytest.mark.parametrize(
    ("gpus", "args", "fits"),
    [
        (2, {"tensor-parallel-size": 2}, True),
        (4, {"tensor-parallel-size": 2, "pipeline-parallel-size": "2"}, True),
        (0.5, {}, True),
        (1, {"tensor-parallel-size": 2}, False),
        (2, {}, False),
        (0.5, {"tensor-parallel-size": 2}, False),
    ],
)
def test_gpus_are_the_ranks_that_the_arguments_make(gpus: float, args: dict[str, Any], fits: bool) -> None:
    """An engine that wants two GPUs and gets one fails after its download; one that gets two and uses one wastes it."""
    engine = {"model": "m", "accelerator": "gpu", "gpus": gpus, "args": args}
    if fits:
        assert Engine.model_validate(engine).gpus == gpus
    else:
        with pytest.raises(ValidationError, match="args divide the model among"):
            Engine.model_validate(engine)


def test_autoscaling_has_an_order() -> None:
    """The least number of replicas is not above the greatest."""
    with pytest.raises(ValidationError):
        Autoscaling(min_replicas=3, max_replicas=2)


@pytest.mark.parametrize(
    "fields",
    [
        {"engine": "e"},
        {"base_url": None},
        {"base_url": "ftp://x"},
        {"base_url": "http://a b"},
        {"model": None},
        {"base_url": None, "engine": "e"},
        {"base_url": None, "model": None, "engine": "e", "api_key_env": "KEY"},
        {"lora": "org/l"},
        {"context_tokens": 0},
        {"price": None},
        {"price": {"input_usd_per_mtok": 1}},
        {"bytes_per_token": 0},
        {"colour": "red"},
    ],
)
def test_an_expert_has_exactly_one_home_and_a_price(fields: dict[str, Any]) -> None:
    """Hosted or elsewhere, with what belongs to that and nothing of the other."""
    with pytest.raises(ValidationError):
        expert(**fields)


def test_both_kinds_of_experts_are_accepted() -> None:
    """A base model, an adapter on it, and a model elsewhere."""
    assert expert().base_url == "http://x.test/v1"
    hosted = {"base_url": None, "model": None, "engine": "e"}
    assert expert(**hosted).lora is None
    assert expert(**hosted, lora="org/l", price=PRICE).lora == "org/l"


def test_the_first_byte_cannot_come_after_the_end() -> None:
    """A leg's limits are ordered."""
    with pytest.raises(ValidationError, match="first_byte_s must not exceed total_s"):
        Limits(first_byte_s=10, total_s=5)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a b", "a,b", "a\n", "é", "x" * 65])
def test_names_fit_headers_labels_and_paths(name: str) -> None:
    """Letters, digits, dot, dash and underscore; at most 64."""
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)
    assert TypeAdapter(Name).validate_python("Qwen2.5-7B_it")


def test_what_was_read_is_frozen() -> None:
    """A configuration version does not change while requests run on it."""
    with pytest.raises(ValidationError):
        expert().context_tokens = 5
