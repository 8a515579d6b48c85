"""What every command of `symposium` shares: where it prints, how it fails, how it reads a configuration."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
from rich.console import Console
from rich.table import Column, Table

from router.config import Config
from router.config_file import ConfigError, load

out, err = Console(), Console(stderr=True)

ConfigFile = Annotated[Path, typer.Argument(help="The routing YAML.")]
Url = Annotated[str, typer.Option(envvar="SYMPOSIUM_URL", help="Where a symposium is served.", show_default=True)]
Key = Annotated[str, typer.Option("--api-key", envvar="OPENAI_API_KEY", help="API key, where one is asked for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
LOCAL = "http://127.0.0.1:8000"


def load_config(path: Path) -> Config:
    """A valid configuration, or the end of the command."""
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Ends the command with exit code 1."""
    err.print(message, style="red", markup=False)
    raise typer.Exit(1)


def print_json(value: object) -> None:
    """One line on stdout, and nothing beside it."""
    sys.stdout.write(json.dumps(value) + "\n")


def call(method: str, url: str, api_key: str, body: object = None, accept: tuple[int, ...] = (200,)) -> dict[str, Any]:
    """A symposium's JSON answer, or the end of the command."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.request(method, url, json=body, headers=headers, timeout=300)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        unreachable(url, error)
    try:
        answer: dict[str, Any] = response.json()
    except json.JSONDecodeError:
        fail(f"{url}: HTTP {response.status_code}, not a symposium's answer")
    if response.status_code not in accept:
        fail(answer.get("error", {}).get("message", str(answer)))
    return answer


def unreachable(url: str, error: Exception) -> NoReturn:
    """Ends the command: nobody answers there."""
    fail(f"{url}: {error}. Is a symposium served there? (`make serve`, or --url)")


def table(title: str, columns: list[str], rows: list[Any]) -> Table:
    """Rows of anything that has a `str`; in a narrow terminal it is folded, as half an id or amount is none."""
    made = Table(*(Column(name, overflow="fold") for name in columns), title=title or None, title_justify="left")
    for row in rows:
        made.add_row(*map(str, row))
    return made
