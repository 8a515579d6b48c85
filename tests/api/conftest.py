"""One router over recorded experts for all tests of the API: starting it is the slow part."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.api.world import BEHAVIOURS, KEY, KEY_ENV, ROWS, World, routing
from tests.support import Recorded, openai_client, recorded


@pytest.fixture(scope="session")
def experts() -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch, recorded(ROWS, BEHAVIOURS, KEY) as server:
        patch.setenv(KEY_ENV, KEY)
        yield server


@pytest.fixture(scope="session")
def world(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with routing(tmp_path_factory.mktemp("world"), experts) as running:
        yield running


@pytest.fixture(scope="session")
def client(world: World) -> Iterator[openai.OpenAI]:
    """The official client."""
    with openai_client(world.url) as found:
        yield found
