"""The `symposium` command. Reads, calls, prints; decides nothing.

`fit` is in `deploy/teach.py`, `profile` in `deploy/measure.py`, `schema` in `deploy/validate.py`, other commands in
files of their names.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.ask import ask
from deploy.assign import assign
from deploy.decisions import decisions
from deploy.evaluate import evaluate
from deploy.feedback import feedback
from deploy.keys import keys
from deploy.measure import profile, say_stale
from deploy.operate import apply, backup, restore, rollback, versions
from deploy.price import price
from deploy.show import LOCAL, AsJson, ConfigFile, Key, Url, call, err, fail, out, print_json, table
from deploy.teach import fit
from deploy.top import top
from deploy.usage import usage
from deploy.validate import schema, validate
from router.config import Config
from router.config_file import ConfigError

if TYPE_CHECKING:
    from router.knowledge import Knowledge

app = typer.Typer(
    help="Many expert language models behind one OpenAI-compatible endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def serve(
    config: ConfigFile,
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Public port.")] = 8000,
    admin_port: Annotated[
        int | None,
        typer.Option(
            envvar="ADMIN_PORT", min=1, max=65535, help="The admin side's, on loopback.", show_default="PORT + 1"
        ),
    ] = None,
) -> None:
    """Serve a configuration on this machine, in the foreground, until Ctrl-C or SIGTERM."""
    from deploy.foreground import run
    from deploy.local import Start
    from router.snapshot import Snapshot

    given = Snapshot.of(config)
    try:
        loaded = given.load()
    except ConfigError as error:
        fail(str(error))
    unset = {e.api_key_env for e in loaded.experts.values() if e.api_key_env} - os.environ.keys()
    if unset:
        fail(f"set {', '.join(sorted(str(name) for name in unset))}: experts of {config} name it as their API key")
    known = _knowledge(loaded)
    say_stale(sorted(known.stale))
    say_stale(known.stale_aggregators, aggregators=True)
    if known.learned_is_stale:
        err.print(
            f"{loaded.routing.learned} was learned of other versions of experts than were profiled last; profiles "
            "alone are used until `symposium profile` has measured all of them",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    start = Start(given, loaded, known.version, port, port + 1 if admin_port is None else admin_port)
    raise typer.Exit(run(start, out))


@app.command()
def status(url: Url = LOCAL, api_key: Key = "", as_json: AsJson = False) -> None:
    """Which experts are up; exit 1 when the symposium is not ready."""
    ready = call("GET", f"{url}/ready", api_key, accept=(200, 503))["ready"]
    models = call("GET", f"{url}/v1/models", api_key)["data"]
    about = call("GET", f"{url}/version", api_key)
    if as_json:
        print_json({"ready": ready, **about, "models": models})
    else:
        _print_status(url, ready, about, models)
    raise typer.Exit(0 if ready else 1)


app.command()(validate)
app.command()(schema)
app.command()(ask)
app.command()(apply)
app.command()(rollback)
app.command()(versions)
app.command()(backup)
app.command()(restore)
app.command()(top)
app.command()(decisions)
app.command()(fit)
app.command()(profile)
app.command()(price)
app.command()(assign)
app.command()(evaluate)
app.command()(usage)
app.add_typer(keys, name="keys")
app.add_typer(feedback, name="feedback")


def _knowledge(config: Config) -> Knowledge:
    """What the router will load: said now if it cannot, rather than after the engines have started."""
    from router.knowledge import Knowledge

    try:
        return Knowledge.load(config)
    except (ValueError, OSError) as error:
        fail(str(error))


def _print_status(url: str, ready: bool, about: dict[str, Any], models: list[dict[str, Any]]) -> None:
    out.print(f"{url}: {'[green]ready[/green]' if ready else '[red]not ready[/red]'}, config {about['config']}")
    rows = []
    for model in models:
        more = model["symposium"]
        up = {True: "up", False: "down"}.get(more.get("up"), "")
        rows.append((model["id"], more["kind"], up, more["description"]))
    out.print(table("", ["model", "kind", "state", "description"], rows))


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
