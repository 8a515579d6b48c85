"""`symposium keys`: makes, lists, revokes and rotates client keys of a running symposium; and digests for its file.

Speaks to the admin side; decides nothing. A secret is printed once, and kept nowhere.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, get_args
from urllib.parse import quote

import typer

from deploy.operate import ask_admin, door
from deploy.show import AsJson, ConfigFile, err, load_config, out, print_json, table
from router.admin.keys import OVERLAP_S, digest, new_secret
from router.config_budgets import DEFAULT_TENANT, Scope

keys = typer.Typer(
    help="Client keys: made, listed, revoked and rotated while the symposium runs.", no_args_is_help=True
)
KeyId = Annotated[str, typer.Argument(help="As `symposium keys list` shows it.")]
SOON = "every router replica knows of it within 2 s"
BOUNDS = ("usd_per_day", "usd_per_month", "requests_per_minute", "tokens_per_minute")


@keys.command()
def make(  # noqa: PLR0913, PLR0917  # one option for each thing that a key may be granted
    config: ConfigFile,
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    tenant: Annotated[str, typer.Option(help="Who pays for it.")] = DEFAULT_TENANT,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"What it is for: {', '.join(get_args(Scope))}; several times for several.")
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A policy it may ask; default: all of its tenant's.")] = None,
    expert: Annotated[
        list[str] | None, typer.Option(help="An expert it may use; default: all of its tenant's.")
    ] = None,
    usd_per_day: Annotated[float | None, typer.Option(help="Money, of days in UTC.")] = None,
    usd_per_month: Annotated[float | None, typer.Option(help="Money, of months in UTC.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="A rate.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="A rate; prompts count.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; its secret is printed once."""
    given = {
        "name": name,
        "tenant": tenant,
        "scopes": scope,
        "policies": policy,
        "experts": expert,
        "usd_per_day": usd_per_day,
        "usd_per_month": usd_per_month,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
    }
    body = {field: value for field, value in given.items() if value not in (None, [])}
    _told(ask_admin(door(load_config(config)), "POST", "/keys", json=body).json(), as_json)


@keys.command("list")
def show(config: ConfigFile, as_json: AsJson = False) -> None:
    """All keys, without their secrets: the configuration's, and those that were made."""
    found = ask_admin(door(load_config(config)), "GET", "/keys").json()["data"]
    if as_json:
        print_json(found)
        return
    columns = ["id", "tenant", "scopes", "policies", "experts", "bounds", "made", "state"]
    out.print(table("", columns, [_line(key) for key in found]))


@keys.command()
def revoke(config: ConfigFile, key: KeyId, as_json: AsJson = False) -> None:
    """End a key, and old secrets of it."""
    ended = ask_admin(door(load_config(config)), "DELETE", f"/keys/{quote(key, safe='')}").json()
    if as_json:
        print_json(ended)
    else:
        out.print(f"{ended['id']} is revoked; {SOON}", markup=False, soft_wrap=True)


@keys.command()
def rotate(
    config: ConfigFile,
    key: KeyId,
    overlap_s: Annotated[float, typer.Option(min=0, help="So long the old secret stays good, seconds.")] = OVERLAP_S,
    as_json: AsJson = False,
) -> None:
    """Another secret for a key, which keeps its budgets; it is printed once."""
    body = {"overlap_s": overlap_s}
    _told(
        ask_admin(door(load_config(config)), "POST", f"/keys/{quote(key, safe='')}/rotate", json=body).json(), as_json
    )


@keys.command("digest")
def of_new(name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> None:
    """Make a key for `server.api_keys` of a file: prints it once, and the lines that hold its digest."""
    secret = new_secret()
    out.print(f"key (shown only now): {secret}", markup=False, soft_wrap=True)
    out.print(
        f"server:\n  api_keys:\n    - {{name: {name}, sha256: {digest(secret)}}}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _told(key: dict[str, Any], as_json: bool) -> None:
    """The secret alone on stdout: a script takes it from there."""
    if as_json:
        print_json(key)
        return
    err.print(f"{key['id']}, of tenant {key['tenant']}; {SOON}. Its secret is shown only now:", markup=False)
    typer.echo(key["secret"])


def _line(key: dict[str, Any]) -> tuple[object, ...]:
    bounds = [f"{key[name]:g} {name.replace('_', ' ')}" for name in BOUNDS if key[name] is not None]
    made = "in the file" if key["made"] is None else _when(key["made"])
    allowed = ["all" if key[what] is None else ", ".join(key[what]) or "none" for what in ("policies", "experts")]
    return key["id"], key["tenant"], ", ".join(key["scopes"]), *allowed, ", ".join(bounds), made, _state(key)


def _state(key: dict[str, Any]) -> str:
    now = time.time()
    if key["ends"] is not None and key["ends"] <= now:
        return f"ended {_when(key['ends'])}"
    if old := [end for end in key["old_secrets_end"] if end > now]:
        return f"good; an old secret until {_when(max(old))}"
    return "good"


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
