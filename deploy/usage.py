"""`symposium usage`: what tenants used and what it cost, from the journal of a running symposium. Decides nothing."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from deploy.operate import ask_admin, door
from deploy.show import ConfigFile, load_config, out, print_json, table


class By(StrEnum):
    """What is summed by."""

    TENANT, KEY, DAY, POLICY, EXPERT = "tenant", "key", "day", "policy", "expert"


class Form(StrEnum):
    """How it is printed."""

    TABLE, CSV, JSON = "table", "csv", "json"


def usage(
    config: ConfigFile,
    tenant: Annotated[str | None, typer.Option(help="Whose; default: everybody's.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="The first day, UTC; default: of the month.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--until", metavar="YYYY-MM-DD", help="The last day; default: today.")
    ] = None,
    by: Annotated[By, typer.Option(help="One sum for each.")] = By.DAY,
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = Form.TABLE,
) -> None:
    """Show what was used and what it cost, by day, tenant, key, policy or expert."""
    given = {"tenant": tenant, "from": first, "until": last, "by": by.value}
    asked = {name: value for name, value in given.items() if value is not None}
    asked["format"] = "csv" if form is Form.CSV else "json"
    answer = ask_admin(door(load_config(config)), "GET", "/usage", params=asked)
    if form is Form.CSV:
        sys.stdout.write(answer.text)
    elif form is Form.JSON:
        print_json(answer.json())
    else:
        _print(answer.json())


def _print(found: dict[str, Any]) -> None:
    whose = f"tenant {found['tenant']}" if found["tenant"] else "all tenants"
    columns = [found["by"], *found["total"]]
    rows = [tuple(row.values()) for row in found["data"]]
    out.print(table(f"{whose}, {found['from']} to {found['until']}", columns, [*rows, ("", *found["total"].values())]))
