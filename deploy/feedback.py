"""`symposium feedback`: what clients' feedback does to the profiles of a running symposium, and how to stop or undo it.

Speaks to the admin side; decides nothing.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from deploy.operate import ask_admin, door
from deploy.show import AsJson, ConfigFile, load_config, out, print_json, table

feedback = typer.Typer(
    help="What feedback does to profiles: shown, frozen, and taken back to an earlier version.", no_args_is_help=True
)
SOON = "Every router replica is there within seconds."


@feedback.command()
def status(config: ConfigFile, as_json: AsJson = False) -> None:
    """Whether it is frozen, which version the profiles are, how much counts, and of which keys."""
    _told(ask_admin(door(load_config(config)), "GET", "/feedback").json(), as_json)


@feedback.command()
def freeze(config: ConfigFile, as_json: AsJson = False) -> None:
    """Profiles stay where they are; feedback that comes is kept, and counts from the thaw on."""
    _changed(config, "freeze", as_json)


@feedback.command()
def thaw(config: ConfigFile, as_json: AsJson = False) -> None:
    """Feedback moves profiles again, with what came while it was frozen."""
    _changed(config, "thaw", as_json)


@feedback.command()
def restore(
    config: ConfigFile,
    version: Annotated[int, typer.Argument(min=0, help="As `versions` shows it; 0: as they were measured.")],
    as_json: AsJson = False,
) -> None:
    """Profiles as they were at a version; what was said since does not count, what is said from now on does."""
    _changed(config, "restore", as_json, {"version": version})


@feedback.command()
def versions(
    config: ConfigFile,
    before: Annotated[int | None, typer.Option(min=1, help="Those before this one.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="So many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Each feedback makes a version of the profiles; the latest first."""
    asked = f"/feedback/versions?most={most}" + (f"&before={before}" if before is not None else "")
    found = ask_admin(door(load_config(config)), "GET", asked).json()["data"]
    if as_json:
        print_json(found)
        return
    out.print(
        table("", ["version", "given", "key", "policy", "said", "of", "counts"], [_line(version) for version in found])
    )


def _line(version: dict[str, Any]) -> tuple[object, ...]:
    given = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version["at"]))
    said, of = "right" if version["right"] else "wrong", ", ".join(version["experts"]) or "nobody"
    return version["version"], given, version["key"], version["policy"], said, of, "no" if version["void"] else "yes"


def _changed(config: ConfigFile, what: str, as_json: bool, body: dict[str, Any] | None = None) -> None:
    _told(ask_admin(door(load_config(config)), "POST", f"/feedback/{what}", json=body).json(), as_json)
    if not as_json:
        out.print(SOON)


def _told(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    state = f"frozen, {found['waiting']} wait" if found["frozen"] else "not frozen"
    out.print(
        f"version {found['version']} of the profiles ({state}): {found['counted']} count, {found['right']} of them "
        f"say right; {found['void']} are void",
        soft_wrap=True,
    )
    rows = [(key["key"], key["counted"], key["right"]) for key in found["keys"]]
    if rows:
        out.print(table("who said most", ["key", "counted", "right"], rows))
