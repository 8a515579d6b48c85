"""`symposium top`: what the running system does now, again and again. Asks the admin side and each replica."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from deploy.operate import ask_admin
from deploy.samples import Samples
from deploy.show import AsJson, ConfigFile, err, fail, load_config, out, print_json, table
from deploy.state import AdminDoor, admin_door

STATES = ("open", "half_open")


def top(
    config: ConfigFile,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="One look over that time, then end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Experts, queues, breakers and rates of the symposium that runs with a configuration, until Ctrl-C."""
    loaded = load_config(config)
    try:
        door = admin_door(Path(loaded.data))
    except ValueError as error:
        fail(str(error))
    experts, policies = tuple(loaded.experts), tuple(loaded.policies)
    if once or as_json:
        before = look(door)[1]
        time.sleep(every)
        status, now = look(door)
        found = figures(status, before, now, experts, policies)
        print_json(found) if as_json else out.print(_shown(found))
        return
    with Live(console=out, auto_refresh=False, screen=out.is_terminal) as live:
        before = look(door)[1]
        while True:
            time.sleep(every)
            status, now = look(door)
            live.update(_shown(figures(status, before, now, experts, policies)), refresh=True)
            before = now


def look(door: AdminDoor) -> tuple[dict[str, Any], Samples]:
    """The admin side's status, and all replicas' metrics with the engines' beside them."""
    status = ask_admin(door, "GET", "/status").json()
    texts = []
    for replica in status["replicas"]:
        try:
            texts.append(httpx.get(f"http://{replica['metrics']}/metrics", timeout=2).text)
        except httpx.HTTPError as error:
            err.print(f"replica {replica['id']}: {error}", style="yellow")
    for engine in status["engines"]:
        headers = {"authorization": f"Bearer {door.token}"}
        try:
            answer = httpx.get(f"{door.url}/admin/v1/engines/{engine}/metrics", headers=headers, timeout=5)
        except httpx.HTTPError as error:
            err.print(f"engine {engine}: {error}", style="yellow")
            continue
        if answer.status_code == 200:
            texts.append(_of_engine(answer.text, engine))
    return status, Samples.of(texts, time.monotonic())


def figures(
    status: dict[str, Any], before: Samples, now: Samples, experts: Sequence[str], policies: Sequence[str]
) -> dict[str, Any]:
    """Everything that is shown, by name; rates are per second, times in seconds."""
    replicas = max(1, len(status["replicas"]))
    return {
        "config": status["config"],
        "version": status["version"],
        "replicas": len(status["replicas"]),
        "refused_changes": status["rejections"],
        "in_flight": now.total("symposium_in_flight"),
        "limit": now.total("symposium_admission_limit"),
        "requests": now.rate(before, "symposium_requests_total"),
        "failed": now.rate(before, "symposium_requests_total", outcome="failed"),
        "experts": {
            name: {
                "up": now.total("symposium_expert_up", expert=name) >= replicas,
                "breaker": next(
                    (s for s in STATES if now.total("symposium_breaker_state", expert=name, state=s) > 0), "closed"
                ),
                "calls": now.rate(before, "symposium_legs_total", expert=name),
                "answered": now.rate(before, "symposium_legs_total", expert=name, outcome="answered"),
                "first_token_s": now.mean(before, "symposium_leg_first_token_seconds", expert=name),
                "output_tokens": now.rate(before, "symposium_tokens_total", expert=name, kind="output"),
            }
            for name in experts
        },
        "policies": {
            name: {
                "requests": now.rate(before, "symposium_requests_total", policy=name),
                "seconds": now.mean(before, "symposium_request_seconds", policy=name),
                "overhead_s": now.mean(before, "symposium_overhead_seconds", policy=name),
            }
            for name in policies
        },
        "engines": {
            name: {
                "running": now.total("vllm:num_requests_running", engine_name=name),
                "waiting": now.total("vllm:num_requests_waiting", engine_name=name),
                "output_tokens": now.rate(before, "vllm:generation_tokens_total", engine_name=name),
            }
            for name in status["engines"]
        },
    }


def _of_engine(text: str, engine: str) -> str:
    """vLLM's own lines, each with the engine's name in this configuration: its label `engine` is a number."""
    lines = []
    for line in text.splitlines():
        if line.startswith("vllm:"):
            name, brace, rest = line.partition("{")
            lines.append(f'{name}{{engine_name="{engine}",{rest}' if brace else line)
    return "\n".join(lines) + "\n"


def _shown(found: dict[str, Any]) -> Group:
    head = (
        f"version {found['version']} ({found['config']}), {found['replicas']} router replicas, "
        f"{found['in_flight']:.0f} of {found['limit']:.0f} requests held, "
        f"{found['requests']:.1f} a second, {found['failed']:.1f} failing, {found['refused_changes']} changes refused"
    )
    return Group(head, *_tables(found))


def _tables(found: dict[str, Any]) -> list[Table]:
    experts = [
        (
            name,
            "up" if e["up"] else "down",
            e["breaker"],
            f"{e['calls']:.1f}",
            f"{e['calls'] - e['answered']:.1f}",
            _ms(e["first_token_s"]),
            f"{e['output_tokens']:.0f}",
        )
        for name, e in found["experts"].items()
    ]
    policies = [
        (name, f"{p['requests']:.1f}", _ms(p["seconds"]), _ms(p["overhead_s"])) for name, p in found["policies"].items()
    ]
    engines = [
        (name, f"{e['running']:.0f}", f"{e['waiting']:.0f}", f"{e['output_tokens']:.0f}")
        for name, e in found["engines"].items()
    ]
    return [
        table("", ["expert", "state", "breaker", "calls/s", "not answered/s", "first token ms", "tokens/s"], experts),
        table("", ["policy", "requests/s", "ms", "of it ours ms"], policies),
        table("", ["engine", "running", "waiting", "tokens/s"], engines),
    ]


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.0f}"
