"""`symposium price` as a person runs it: what it sends is a load of the stated size, what it prints is a price."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

from deploy.price import ROUNDS, price
from experts.spec import Price
from tests.support import CHAT, on_a_port
from tests.unit.make import HOSTED, yaml_file

BATCH = 3
AUTOSCALED = "accelerator: cpu, autoscaling: {min_replicas: 1, max_replicas: 2}"
SMALL = HOSTED.replace("context_tokens: 10", "context_tokens: 512")


class Served:
    """Answers of the asked length, once as many requests as a batch holds are under way: fewer would wait for ever."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.together = asyncio.Barrier(BATCH)

    async def answer(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        await self.together.wait()
        prompt_tokens = len(body["messages"][0]["content"]) // 3
        return JSONResponse({"usage": {"prompt_tokens": prompt_tokens, "completion_tokens": body["max_tokens"]}})


@contextmanager
def served() -> Iterator[tuple[str, Served]]:
    """Where it is, and what it is asked."""
    found = Served()
    with on_a_port(Starlette(routes=[Route(CHAT, found.answer, methods=["POST"])])) as url:
        yield url, found


def run(folder: Path, url: str, *options: str, engine: str = "gpu0", text: str = SMALL) -> Result:
    """The command on this engine at 3.60 dollars an hour."""
    app = typer.Typer()
    app.command()(price)
    file = str(yaml_file(folder, text))
    given = ["--engine", engine, "--usd-per-hour", "3.6", "--batch", str(BATCH), "--url", url]
    return CliRunner().invoke(app, [file, *given, *options])


def test_loads_of_the_batch_size_become_a_price(tmp_path: Path) -> None:
    """Four loads and one to warm up, each of as many requests at once; no prompts alike; answers of exact length."""
    with served() as (url, found):
        said = json.loads(run(tmp_path, url, "--json").stdout)
    assert len(found.asked) == 5 * ROUNDS * BATCH
    assert len({body["messages"][0]["content"] for body in found.asked}) == len(found.asked)
    assert {body["model"] for body in found.asked} == {said["expert"]} == {"base"}
    assert all(body["min_tokens"] == body["max_tokens"] and body["ignore_eos"] for body in found.asked)
    assert [r["output_tokens"] for r in said["runs"]] == [16 * 12, 128 * 12, 16 * 12, 128 * 12]
    assert (Price(**said["price"]).usd_per_hour, said["price"]["batch"]) == (3.6, BATCH)
    assert all(r["seconds"] > 0 for r in said["runs"])


def test_what_is_printed_is_a_configuration_s_price(tmp_path: Path) -> None:
    """To be pasted: the line is YAML, and a valid price; how well it fits stands above it."""
    with served() as (url, _):
        printed = run(tmp_path, url, "--expert", "poet").stdout
    line = next(line for line in printed.splitlines() if "price: {" in line)
    assert Price(**yaml.safe_load(line)["price"]).batch == BATCH
    assert "root of the mean square" in printed


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"engine": "gpu1"}, "--engine: unknown 'gpu1'; there are gpu0"),
        ({"expert": "ada"}, "--expert: 'ada' is not on gpu0; there are base, poet"),
        ({"text": SMALL.replace("accelerator: cpu", AUTOSCALED)}, "changes with its load"),
        (
            {"text": SMALL.replace("accelerator: cpu", "accelerator: cpu, replicas: 200")},
            "server.limits.max_in_flight, which is 512",
        ),
        ({"text": SMALL.replace("accelerator: cpu", "accelerator: cpu, replicas: 20")}, "convening.concurrency.first"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_asked(
    tmp_path: Path, options: dict[str, str], why: str
) -> None:
    """Nobody listens there: it would be another message."""
    extra = ["--expert", options.pop("expert")] if "expert" in options else []
    result = run(tmp_path, "http://127.0.0.1:9", *extra, **options)
    assert result.exit_code == 1
    assert why in " ".join(result.output.split())


def test_a_request_that_is_refused_ends_it(tmp_path: Path) -> None:
    """A load with a hole in it measures nothing; the refusal is shown."""

    async def refuse(_: Request) -> JSONResponse:
        return JSONResponse({"error": {"message": "Too much."}}, 429)

    with on_a_port(Starlette(routes=[Route(CHAT, refuse, methods=["POST"])])) as url:
        result = run(tmp_path, url)
    assert result.exit_code == 1
    assert "HTTP 429: Too much." in result.output
