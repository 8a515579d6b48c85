"""Recorded experts for all tests of metrics; each test module starts the routers it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experts.recorded_book import Behaviour
from tests.api.world import BEHAVIOURS, KEY, KEY_ENV, ROWS
from tests.support import Recorded, recorded

UNHURRIED = Behaviour(ttft_s=0.3)  # over the bound of `settings.hurried`
SILENT = Behaviour(ttft_s=3600)  # takes its turn, and says nothing
CHANGED = {"dog": UNHURRIED, "slow3": SILENT}


@pytest.fixture(scope="session")
def experts() -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch, recorded(ROWS, BEHAVIOURS | CHANGED, KEY) as server:
        patch.setenv(KEY_ENV, KEY)
        yield server
