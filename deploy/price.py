"""`symposium price`: what a token of an engine takes of its time, measured on the running symposium, as a price.

Reads, asks and prints; which loads tell, and what follows from them, is in `router/pricing.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from rich.progress import Progress

from deploy.show import LOCAL, AsJson, ConfigFile, Key, Url, err, fail, load_config, out, print_json, table, unreachable

if TYPE_CHECKING:
    from router.config import Config
    from router.pricing import Load, Run, Taken

ROUNDS = 4  # requests of a load, by the batch size: what begins and ends it weighs little
DIGITS = 3  # of what is measured


def price(
    config: ConfigFile,
    *,
    engine: Annotated[str, typer.Option(help="The engine, as the configuration names it.")],
    usd_per_hour: Annotated[
        float, typer.Option(min=0, help="What one replica of it costs, all its hardware together.")
    ],
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Requests under way in one replica.")] = 32,
    expert: Annotated[str, typer.Option(help="The expert on it that is asked.", show_default="the first")] = "",
    url: Url = LOCAL,
    api_key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Measure what a token of an engine takes of its time, and print the price of its experts for the configuration."""
    from router.pricing import loads, taken

    loaded = load_config(config)
    asked = _asked(loaded, engine, expert)
    limits = loaded.server.limits
    shapes = loads(loaded.experts[asked].context_tokens, limits.max_tokens)
    replicas = loaded.engines[engine].replicas
    for what, most in (
        ("server.limits.max_in_flight", limits.max_in_flight),
        ("convening.concurrency.first", loaded.convening.concurrency.first),  # others would wait in the router
    ):
        if batch * replicas > most:
            fail(f"--batch: {batch} in each of {replicas} replicas are more than {what}, which is {most}; raise it")
    try:
        runs = asyncio.run(_Measuring(loaded, asked, batch, replicas, url, api_key).runs(shapes))
        found = taken(runs)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        unreachable(url, error)
    except ValueError as error:
        fail(str(error))
    made = {
        "usd_per_hour": usd_per_hour,
        "input_s_per_mtok": _rounded(found.input_s * 1e6),
        "output_s_per_mtok": _rounded(found.output_s * 1e6),
        "batch": batch,
    }
    if as_json:
        print_json({"expert": asked, "price": made, "residual": found.residual, "runs": [_run_json(r) for r in runs]})
    else:
        _print(asked, made, runs, found)


def _asked(config: Config, engine: str, expert: str) -> str:
    """The expert of that engine to ask, or the end of the command."""
    if engine not in config.engines:
        fail(f"--engine: unknown '{engine}'; there are {', '.join(config.engines) or 'none here'}")
    if config.engines[engine].autoscaling is not None:
        fail(f"--engine: the number of '{engine}' changes with its load; give it `replicas` for the measurement")
    there = [name for name, spec in config.experts.items() if spec.engine == engine]
    if expert and expert not in there:
        fail(f"--expert: '{expert}' is not on {engine}; there are {', '.join(there)}")
    return expert or there[0]


@dataclass(frozen=True, slots=True)
class _Measuring:
    """Keeps just so many requests under way for as long as a load lasts: the engine's time is the clock's, then."""

    config: Config
    expert: str
    batch: int
    replicas: int
    url: str
    api_key: str

    async def runs(self, shapes: tuple[Load, ...]) -> list[Run]:
        """Raises ValueError where a request is refused or fails: then nothing was measured."""
        from router.asking import connect

        async with connect(self.url, self.api_key, self.batch * self.replicas) as client:
            with Progress(console=err) as bars:
                bar = bars.add_task("loads", total=len(shapes))
                await self._run(client, shapes[0], -1)  # warm
                found = []
                for number, load in enumerate(shapes):
                    found.append(await self._run(client, load, number))
                    bars.advance(bar)
                return found

    async def _run(self, client: httpx.AsyncClient, load: Load, number: int) -> Run:
        from router.asking import at_once
        from router.pricing import Run

        left = iter(list(self._bodies(load, number)))  # made before the clock runs
        spent: list[tuple[int, int]] = []

        async def work() -> None:
            for body in left:
                spent.append(_usage(await client.post("/v1/chat/completions", json=body)))

        began = time.perf_counter()
        await at_once(self.batch * self.replicas, work)
        seconds = (time.perf_counter() - began) * self.replicas
        return Run(load, sum(p for p, _ in spent), sum(o for _, o in spent), seconds)

    def _bodies(self, load: Load, number: int) -> Iterator[dict[str, Any]]:
        """Answers of exactly the load's length: vLLM's own parameters, which go to the engine as they are."""
        from experts.tokens import TokenCounter
        from router.pricing import prompt

        counter = TokenCounter(self.config.tokenizer(self.expert), self.config.experts[self.expert].bytes_per_token)
        length = {"max_tokens": load.output_tokens, "min_tokens": load.output_tokens, "ignore_eos": True}
        total = ROUNDS * self.batch * self.replicas
        for seed in range((number + 1) * total, (number + 2) * total):
            said = prompt(counter, load.prompt_tokens, seed)
            yield {"model": self.expert, "messages": [{"role": "user", "content": said}], **length}


def _usage(response: httpx.Response) -> tuple[int, int]:
    try:
        found = response.json()
        if response.status_code != 200:
            raise ValueError(f"HTTP {response.status_code}: {found['error']['message']}")
        return found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a symposium's answer: {response.text[:200]}") from error


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _run_json(run: Run) -> dict[str, Any]:
    return {"prompt_tokens": run.prompt_tokens, "output_tokens": run.output_tokens, "seconds": run.seconds}


def _print(asked: str, made: dict[str, Any], runs: list[Run], found: Taken) -> None:
    from experts.spec import Price

    rows = [
        (r.load.prompt_tokens, r.load.output_tokens, r.prompt_tokens, r.output_tokens, f"{r.seconds:.2f}",
         f"{found.seconds(r):.2f}")
        for r in runs
    ]  # fmt: skip
    columns = ["prompt, about", "answer", "prompt tokens", "output tokens", "seconds", "by the price"]
    out.print(table(f"{asked}: loads of {made['batch']} requests under way in each replica", columns, rows))
    of_prompts, of_answers = Price(**made).usd_per_mtok
    out.print(f"off by {100 * found.residual:.1f} % (root of the mean square over these loads)")
    out.print(f"US dollars per million tokens: {of_prompts:.4g} of prompts, {of_answers:.4g} of answers\n")
    fields = ", ".join(f"{name}: {value:g}" for name, value in made.items())
    out.print(f"    price: {{{fields}}}", markup=False, highlight=False, soft_wrap=True)
