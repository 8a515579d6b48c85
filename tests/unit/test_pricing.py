"""What a token takes of an engine's time, out of what known loads took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.tokens import TokenCounter
from router.pricing import Load, Run, Taken, loads, prompt, taken

SHAPES = loads(4096, 4096)


def run(load: Load, seconds: float, requests: int = 32) -> Run:
    """Of so many requests of that shape."""
    return Run(load, requests * load.prompt_tokens, requests * load.output_tokens, seconds)


def runs(input_s: float, output_s: float, off: tuple[float, ...] = (1, 1, 1, 1)) -> list[Run]:
    """As an engine takes them to which a token is worth just so much, but for a factor of each run."""
    exact = Taken(input_s, output_s, 0)
    return [run(load, factor * exact.seconds(run(load, 1))) for load, factor in zip(SHAPES, off, strict=True)]


def test_loads_are_two_lengths_of_prompts_by_two_of_answers() -> None:
    """An eighth and the whole of each; within the context, with room for the answer, and within what may be asked."""
    assert (Load(128, 32), Load(128, 256), Load(1024, 32), Load(1024, 256)) == SHAPES
    assert loads(512, 512) == (Load(32, 16), Load(32, 128), Load(256, 16), Load(256, 128))
    assert {load.output_tokens for load in loads(512, 64)} == {8, 64}
    assert all(load.prompt_tokens + load.output_tokens <= 16 for load in loads(16, 100))


@given(st.floats(1e-7, 1e-2), st.floats(1e-7, 1e-2))
def test_seconds_of_tokens_are_found_again(input_s: float, output_s: float) -> None:
    """Of an engine that takes exactly so much of each, whatever they are; nothing is left over."""
    found = taken(runs(input_s, output_s))
    assert (found.input_s, found.output_s) == pytest.approx((input_s, output_s), rel=1e-6)
    assert found.residual == pytest.approx(0, abs=1e-6)


def test_what_does_not_fit_is_said() -> None:
    """Runs that took a tenth more or less than tokens say: the fit is near, and off by about that."""
    found = taken(runs(1e-4, 1e-3, (1.1, 0.9, 0.9, 1.1)))
    assert (found.input_s, found.output_s) == pytest.approx((1e-4, 1e-3), rel=0.1)
    assert found.residual == pytest.approx(0.1, abs=0.02)


def test_a_token_never_takes_less_than_nothing() -> None:
    """Where longer prompts were quicker, by chance, answers alone are what takes time."""
    found = taken([run(load, 1e-2 * load.output_tokens * (2 if load.prompt_tokens == 128 else 1)) for load in SHAPES])
    assert found.input_s == 0
    assert found.output_s > 0


def test_loads_of_one_shape_tell_nothing() -> None:
    """Prompts and answers in one proportion cannot be told apart."""
    with pytest.raises(ValueError, match="their lengths must differ"):
        taken([run(Load(10, 10), 1), run(Load(20, 20), 2)])


@pytest.mark.parametrize("tokens", [1, 40, 300])
def test_a_prompt_has_its_length_and_is_like_no_other(tokens: int) -> None:
    """At most so many tokens as the expert counts them; no two begin alike, and one seed makes one prompt."""
    counter = TokenCounter(None, 3.0)
    made = [prompt(counter, tokens, seed) for seed in range(20)]
    assert len({text[:5] for text in made}) == 20
    assert made[0] == prompt(counter, tokens, 0)
    if tokens > 30:  # below that the markers of a message are longer
        assert all(0.8 * tokens < counter.count([text]) <= tokens for text in made)
