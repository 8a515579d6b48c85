"""`symposium ask`: one question to a running symposium, and its route as it happens. Prints; decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape

from deploy.show import LOCAL, AsJson, Key, Url, call, fail, out, print_json, table, unreachable

SHOWN = 6  # candidates; --json has them all
TIMEOUT_S = 300


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="A policy, or an expert by name.")] = "auto",
    url: Url = LOCAL,
    api_key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Ask the running symposium, and watch the route that the question takes."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": question}]}
    address = f"{url}/v1/chat/completions"
    if as_json:
        print_json(call("POST", address, api_key, body | {"symposium": {"explain": True}}))
        return
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for chunk in _chunks(address, api_key, body | options | {"symposium": {"progress": True, "explain": True}}):
        if (error := chunk.get("error")) is not None:
            out.print()
            fail(error.get("message", str(error)))
        _show(chunk)


def _show(chunk: dict[str, Any]) -> None:
    for choice in chunk.get("choices") or ():
        end = "\n" if choice.get("finish_reason") else ""
        out.print(choice["delta"].get("content") or "", end=end, markup=False, highlight=False)
    told: dict[str, Any] = chunk.get("symposium") or {}
    what = told.get("event")
    if what == "decided":
        _show_route(told)
    elif what == "answered":
        seconds, tokens = told["seconds"], told["usage"]["completion_tokens"]
        out.print(f"  [green]✓[/green] {escape(told['expert'])} answered in {seconds:.2f} s, {tokens} tokens")
    elif what == "failed":
        out.print(f"  [red]✗[/red] {escape(told['expert'])}: {escape(told['outcome'])}")
    elif what == "cut":
        out.print(f"  [yellow]–[/yellow] {escape(told['expert'])} was not needed any more")
    elif "answered_by" in told:
        _show_outcome(told, chunk["usage"]["total_tokens"])


def _show_outcome(told: dict[str, Any], tokens: int) -> None:
    how = dict.fromkeys((told["aggregated"], told["why"]))
    _line("answer", f"by {told['answered_by']} ({': '.join(how)})")
    vote = told["vote"] or {"answers": [], "posterior": None}
    for answer in vote["answers"]:
        out.print(f"  {answer['answer']!r}: {', '.join(answer['experts'])}", markup=False)
    if vote["posterior"] is not None:
        _line("P(right)", f"{vote['posterior']:.2f}")
    if missing := told.get("missing"):
        _line("missing", ", ".join(missing), "yellow")
    for name, label in (("degraded", "less"), ("ended_early", "cut by")):
        if name in told:
            _line(label, told[name], "yellow")
    _line("spent", f"{tokens} tokens, {told['cost_usd']:.9f} USD")


def _show_route(route: dict[str, Any]) -> None:
    plan = route["plan"]
    if route["category"] is not None:
        sure = max(route["categories"].values(), default=0.0)
        why = f"({route['abstained']})" if route["abstained"] else f"{sure:.2f}"
        skills = ", ".join(f"{name} {weight:.2f}" for name, weight in route["skills"].items()) or "none known"
        _line("category", f"{route['category']} {why}")
        _line("skills", f"{skills} (by {route['skills_from']})")
    for what, names in (("unknown", route["unknown_skills"]), ("stale", route["stale_profiles"])):
        if names:
            _line(what, ", ".join(names), "yellow")
    for leg in route["asides"]:
        if "failed" in leg:
            _line("keywords", f"{leg['expert']}: {leg['failed']}", "yellow")
    _show_candidates(route["candidates"])
    _line(
        "plan",
        f"{plan['aggregator']} of {', '.join(plan['experts'])} ({plan['reason']}), "
        f"decided in {route['overhead_ms']:.1f} ms\n",
    )


def _show_candidates(candidates: list[dict[str, Any]]) -> None:
    rows = [
        (
            escape(c["expert"]),
            f"{c['p_correct']:.2f} ± {c['p_spread']:.2f}",
            f"{c['observations']} ({c['evidence']})",
            "yes" if c["taken"] else "no",
            c["why"],
        )
        for c in candidates[:SHOWN]
    ]
    if rows:
        out.print(table("", ["expert", "P(correct)", "observations", "asked", "why"], rows))
    if len(candidates) > SHOWN:
        out.print(f"  … and {len(candidates) - SHOWN} more", highlight=False)


def _line(what: str, text: str, style: str = "") -> None:
    out.print(f"[bold]{what:<9}[/bold]{escape(text)}", style=style, highlight=False)


def _chunks(address: str, api_key: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream's objects; an error that came instead of a stream as one of them."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with httpx.stream("POST", address, json=body, headers=headers, timeout=TIMEOUT_S) as response:
            if response.status_code != 200:
                response.read()
                yield response.json()
                return
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield json.loads(line.removeprefix("data: "))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        unreachable(address, error)
    except json.JSONDecodeError:
        fail(f"{address}: not a symposium's answer")
