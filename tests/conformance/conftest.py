"""One contract, many kinds of experts: every test that asks for `kind` runs over all of them.

`served`, a whole symposium of configs/quickstart.yaml, comes from the conftest above. `ledgers`: one contract, two
stores.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from experts.client import Endpoint, ExpertClient, open_session
from loadtest.server import Served
from tests.conformance.kinds import BEHAVIOURS, LEG_IDS, ROWS, Kind, hosted_kind, recorded_kind
from tests.conformance.ledgers import Ledgers, ledgers_at
from tests.redis_server import needs_redis, redis_server
from tests.support import recorded

API_KEY = "sk-conformance"


@pytest.fixture(scope="session")
def recorded_expert() -> Iterator[Kind]:
    with recorded(ROWS, BEHAVIOURS) as server:
        yield recorded_kind(server, None)


@pytest.fixture(scope="session")
def remote_expert() -> Iterator[Kind]:
    with recorded(ROWS, BEHAVIOURS, API_KEY) as server:
        yield recorded_kind(server, API_KEY)


@pytest.fixture(scope="session")
def hosted_endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """One LoRA expert of a real engine, spoken to as the router does. Not started unless a test needs it."""
    served: Served = request.getfixturevalue("served")
    base_url = f"{served.internal_url}/experts/specialists/v1"
    return Endpoint("math", base_url, "math", served.internal_headers, hosted=True)


@pytest.fixture(scope="session")
def hosted_expert(request: pytest.FixtureRequest) -> Kind:
    served: Served = request.getfixturevalue("served")
    return hosted_kind(request.getfixturevalue("hosted_endpoint"), served)


ELSEWHERE = ["recorded_expert", "remote_expert"]
KEPT = ["remote_expert", pytest.param("hosted_expert", marks=pytest.mark.engine)]
EVERY = ["recorded_expert", *KEPT]


@pytest.fixture(params=EVERY)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every kind of expert."""
    found: Kind = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=KEPT)
def kept(request: pytest.FixtureRequest) -> Kind:
    """The kinds that ask for a key or a token."""
    found: Kind = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request: pytest.FixtureRequest) -> Kind:
    """The kinds whose server can be told to misbehave."""
    found: Kind = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def client() -> AsyncIterator[ExpertClient]:
    async with open_session() as session:
        yield ExpertClient(session)


@pytest.fixture(scope="session")
def new_leg() -> Callable[[], str]:
    """Ids of legs, each one only once."""
    numbers = count(1)
    return lambda: f"{LEG_IDS}{next(numbers)}"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sym-") as folder, redis_server(Path(folder)) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def ledger_url(request: pytest.FixtureRequest) -> str | None:
    """Of both stores: the URL of a Redis, or None for the one that is a file."""
    url: str | None = request.getfixturevalue("redis_url") if request.param == "redis" else None
    return url


@pytest.fixture
async def ledgers(ledger_url: str | None, tmp_path: Path) -> AsyncIterator[Ledgers]:
    """Each store, empty."""
    async with ledgers_at(tmp_path, ledger_url) as found:
        yield found
