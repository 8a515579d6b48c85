"""What every test shares: asyncio under anyio, and properties that draw the same examples on every run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from loadtest.server import REPOSITORY, Served, serving

settings.register_profile(
    "symposium",
    derandomize=True,
    database=None,
    deadline=None,  # nothing is timed
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining a failure takes 20 s on a small machine
)
settings.load_profile("symposium")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that the product runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The quickstart, served as a newcomer serves it; shared by the tests that leave it unharmed."""
    log: Path = tmp_path_factory.mktemp("served") / "serve.log"
    with serving(REPOSITORY / "configs" / "quickstart.yaml", log) as running:
        yield running
