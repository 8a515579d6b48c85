"""The `symposium` command. Reads, calls, prints; decides nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import httpx
import typer
from rich.console import Console
from rich.table import Table

from router.config import Config, ConfigError, load

if TYPE_CHECKING:
    from router.pipeline import Knowledge

app = typer.Typer(
    help="Many expert language models behind one OpenAI-compatible endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
out, err = Console(), Console(stderr=True)

ConfigFile = Annotated[Path, typer.Argument(help="The routing YAML.")]
Url = Annotated[str, typer.Option(envvar="SYMPOSIUM_URL", help="Where a symposium is served.", show_default=True)]
Key = Annotated[str, typer.Option("--api-key", envvar="OPENAI_API_KEY", help="API key, where one is asked for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
LOCAL = "http://127.0.0.1:8000"


@app.command()
def serve(
    config: ConfigFile,
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Public port.")] = 8000,
) -> None:
    """Serve a configuration on this machine, in the foreground, until Ctrl-C or SIGTERM."""
    from deploy.foreground import run

    loaded = _load(config)
    unset = {e.api_key_env for e in loaded.experts.values() if e.api_key_env} - os.environ.keys()
    if unset:
        _fail(f"set {', '.join(sorted(str(name) for name in unset))}: experts of {config} name it as their API key")
    _knowledge(loaded)
    raise typer.Exit(run(loaded, port, out))


@app.command()
def validate(config: ConfigFile, as_json: AsJson = False) -> None:
    """Say everything that is wrong with a configuration; exit 1 if anything is."""
    try:
        loaded = load(config)
    except ConfigError as error:
        if as_json:
            _print_json({"valid": False, "problems": error.problems})
        else:
            err.print(f"[red]{config} is not valid:[/red]")
            for problem in error.problems:
                err.print(f"  {problem}", markup=False)
        raise typer.Exit(1) from error
    if as_json:
        _print_json({"valid": True, "version": loaded.hash})
    else:
        out.print(
            f"[green]valid[/green], version {loaded.hash}: {len(loaded.engines)} engines, "
            f"{len(loaded.experts)} experts, policies {', '.join(loaded.policies)}"
        )


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="A policy, or an expert by name.")] = "auto",
    url: Url = LOCAL,
    api_key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Ask the running symposium, and show the route the question took."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "symposium": {"explain": True},
    }
    answer = _call("POST", f"{url}/v1/chat/completions", api_key, body)
    if as_json:
        _print_json(answer)
        return
    out.print(answer["choices"][0]["message"]["content"], markup=False)
    _print_route(answer["symposium"], answer["usage"])


@app.command()
def status(url: Url = LOCAL, api_key: Key = "", as_json: AsJson = False) -> None:
    """Which experts are up; exit 1 when the symposium is not ready."""
    ready = _call("GET", f"{url}/ready", api_key, accept=(200, 503))["ready"]
    models = _call("GET", f"{url}/v1/models", api_key)["data"]
    about = _call("GET", f"{url}/version", api_key)
    if as_json:
        _print_json({"ready": ready, **about, "models": models})
    else:
        _print_status(url, ready, about, models)
    raise typer.Exit(0 if ready else 1)


@app.command()
def fit(
    config: ConfigFile,
    questions: Annotated[Path, typer.Option(help="Labelled questions (JSONL).")],
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Train the category classifier and the skill vocabulary from labelled questions."""
    from router.embed import SentenceTransformerEmbedder
    from router.fit import fit as run_fit
    from router.questions import read

    loaded = _load(config)
    _hub_offline(loaded)
    settings = loaded.routing.embedder
    try:
        with err.status("embedding and fitting"):
            embed = SentenceTransformerEmbedder(settings.model, settings.max_chars, os.cpu_count() or 1)
            fitted = run_fit(read(questions), embed, seed)
    except ValueError as error:
        _fail(str(error))
    fitted.save(Path(loaded.routing.fitted))
    if as_json:
        _print_json(fitted.report)
    else:
        out.print(_table("measured on wordings held out", ["figure", "value"], list(fitted.report.items())))
        out.print(f"written to {loaded.routing.fitted}", markup=False)


@app.command()
def profile(
    config: ConfigFile,
    questions: Annotated[Path, typer.Option(help="Labelled questions (JSONL).")],
    url: Url = LOCAL,
    api_key: Key = "",
    concurrency: Annotated[int, typer.Option(min=1, max=256)] = 16,
) -> None:
    """Measure every expert on labelled questions through the running symposium."""
    from router.profile import measure
    from router.questions import read

    loaded = _load(config)
    target = Path(loaded.routing.profiles)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        profiles = asyncio.run(measure(read(questions), list(loaded.experts), url, api_key, concurrency, err))
    except (ValueError, httpx.HTTPError) as error:
        _fail(str(error))
    target.write_text(profiles.model_dump_json(indent=1) + "\n", encoding="utf-8")
    rows = [
        (
            name,
            f"{p.overall.right}/{p.overall.asked}",
            *(f"{c.right}/{c.asked}" for c in p.categories.values()),
        )
        for name, p in profiles.experts.items()
    ]
    categories = list(next(iter(profiles.experts.values())).categories)
    out.print(_table("right / asked", ["expert", "overall", *categories], rows))
    out.print(f"written to {target}; restart to use it", markup=False)


@app.command()
def key(name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> None:
    """Make an API key: prints it once, and the lines for `server.api_keys` that hold its hash."""
    secret = f"sym-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    out.print(f"key (shown only now): {secret}", markup=False)
    out.print(f"server:\n  api_keys:\n    - {{name: {name}, sha256: {digest}}}", markup=False)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def _load(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        _fail(str(error))


def _knowledge(config: Config) -> Knowledge:
    """What the router will load: said now if it cannot, rather than after the engines have started."""
    from router.pipeline import Knowledge

    try:
        return Knowledge.load(config)
    except ValueError as error:
        _fail(str(error))


def _hub_offline(config: Config) -> None:
    """The packaged embedder needs no hub; asking one would only wait for its time-out."""
    if config.routing.embedder.model == "minilm":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _fail(message: str) -> NoReturn:
    err.print(message, style="red", markup=False)
    raise typer.Exit(1)


def _call(method: str, url: str, api_key: str, body: object = None, accept: tuple[int, ...] = (200,)) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.request(method, url, json=body, headers=headers, timeout=300)
    except httpx.HTTPError as error:
        _fail(f"{url}: {error}. Is a symposium served there? (`make serve`, or --url)")
    try:
        answer: dict[str, Any] = response.json()
    except json.JSONDecodeError:
        _fail(f"{url}: HTTP {response.status_code}, not a symposium's answer")
    if response.status_code not in accept:
        _fail(answer.get("error", {}).get("message", str(answer)))
    return answer


def _print_route(route: dict[str, Any], usage: dict[str, Any]) -> None:
    plan = route["plan"]
    skills = ", ".join(f"{name} {weight:.2f}" for name, weight in route["skills"].items()) or "none known"
    out.print(
        f"\n[bold]category[/bold] {route['category']}  [bold]skills[/bold] {skills}  "
        f"[bold]plan[/bold] {plan['aggregator']} ({plan['reason']})  "
        f"[bold]overhead[/bold] {route['overhead_ms']:.1f} ms  [bold]tokens[/bold] {usage['total_tokens']}"
    )
    rows = [
        (c["expert"], f"{c['p_correct']:.2f}", c["observations"], "yes" if c["taken"] else "no", c["why"])
        for c in route["candidates"]
    ]
    if rows:
        out.print(_table("", ["expert", "P(correct)", "observations", "asked", "why"], rows))
    for vote in (route.get("vote") or {}).get("answers", ()):
        out.print(f"  {vote['answer']!r}: {', '.join(vote['experts'])}", markup=False)


def _print_status(url: str, ready: bool, about: dict[str, Any], models: list[dict[str, Any]]) -> None:
    out.print(f"{url}: {'[green]ready[/green]' if ready else '[red]not ready[/red]'}, config {about['config']}")
    rows = []
    for model in models:
        more = model["symposium"]
        up = {True: "up", False: "down"}.get(more.get("up"), "")
        rows.append((model["id"], more["kind"], up, more["description"]))
    out.print(_table("", ["model", "kind", "state", "description"], rows))


def _table(title: str, columns: list[str], rows: list[Any]) -> Table:
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
