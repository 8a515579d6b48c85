"""How the parts of one router are put together: where each expert is spoken to, and what is there from the start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from experts.guard import TOKEN_HEADER
from router.config_file import load
from router.edition import Edition
from router.events import Event, Unserved
from router.opening import at, open_service
from tests.api.world import KeywordEmbedder, config
from tests.unit.make import HOSTED, yaml_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXT = HOSTED.replace("    model: ada-1\n", "    model: ada-1\n    api_key_env: ADA_KEY\n")


def test_hosted_experts_are_below_their_engine_with_the_internal_token(tmp_path: Path) -> None:
    """The base model goes by its engine's name, an adapter by its own."""
    found = at("http://127.0.0.1:9", "secret")(load(yaml_file(tmp_path, TEXT)))
    for name, model in (("base", "gpu0"), ("poet", "poet")):
        assert found[name].base_url == "http://127.0.0.1:9/experts/gpu0/v1"
        assert (found[name].model, found[name].hosted) == (model, True)
        assert found[name].headers == {TOKEN_HEADER: "secret"}


def test_experts_elsewhere_get_their_own_key_and_never_our_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is read from the environment at start; without one no header is sent."""
    monkeypatch.setenv("ADA_KEY", "sk-1")
    config = load(yaml_file(tmp_path, TEXT))
    found = at("http://127.0.0.1:9", "secret")(config)
    assert (found["ada"].base_url, found["ada"].model) == ("http://ada.test/v1", "ada-1")
    assert (found["ada"].headers, found["bob"].headers) == ({"authorization": "Bearer sk-1"}, {})
    assert not found["ada"].hosted
    monkeypatch.delenv("ADA_KEY")
    assert at("http://127.0.0.1:9", "secret")(config)["ada"].headers == {}


@pytest.mark.anyio
async def test_an_embedder_of_another_size_is_refused_at_the_start(tmp_path: Path) -> None:
    """Not at every question: the message names the file and says what to run."""

    class Larger(KeywordEmbedder):
        def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.ones((len(texts), 5), dtype=np.float32)

    settings = config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"fitted\.npz: fitted for vectors of 3 numbers.*makes 5.*symposium fit"):
        async with open_service(settings, at("", ""), Larger()):
            pass


@pytest.mark.anyio
async def test_a_router_is_whole_before_anybody_answers(tmp_path: Path) -> None:
    """Every breaker shows as closed and every expert as down, and it is not ready."""
    settings = config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
    async with open_service(settings, at("", ""), KeywordEmbedder()) as service:
        shown = service.telemetry.exposition().decode()
        for expert in settings.experts:
            assert f'symposium_breaker_state{{expert="{expert}",state="closed"}} 1.0' in shown
            assert f'symposium_expert_up{{expert="{expert}"}} 0.0' in shown
        assert not service.ready


@pytest.mark.anyio
async def test_a_sink_that_fails_reaches_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others hear of the event all the same, and the log says what happened."""
    heard: list[Event] = []
    async with open_service(
        config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9"), at("", ""), KeywordEmbedder()
    ) as s:

        def broken(event: Event, edition: Edition) -> None:
            raise KeyError(event)

        s.sinks.insert(0, broken)
        s.sinks.append(lambda event, edition: heard.append(event))
        s.emit(Unserved("auto"), s.edition)
    assert heard == [Unserved("auto")]
    assert "a sink failed" in caplog.messages


@pytest.mark.anyio
async def test_a_policy_that_nobody_can_act_on_is_refused_at_the_start(tmp_path: Path) -> None:
    """A category that was never fitted: the router does not start, and says where it stands."""
    policies = {"auto": {"categories": {"chess": "vote"}}}
    settings = config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9", policies=policies)
    with pytest.raises(ValueError, match=r"policies\.auto\.categories: unknown 'chess'"):
        async with open_service(settings, at("", ""), KeywordEmbedder()):
            pass
