"""What `symposium serve` shows: a line per engine while it loads, where it is ready, a clean end.

To people on the terminal; to programs as JSON lines on stderr, where that is none.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from deploy.apps import engine_app_name
from deploy.cluster import AppState
from deploy.downloads import download
from deploy.drain import drained
from deploy.local import Start, StartFailed, Stop, serving
from router.config import Config
from router.logs import write_to

log = logging.getLogger(__name__)
EXAMPLE = (
    "curl http://127.0.0.1:{port}/v1/chat/completions -H 'content-type: application/json' "
    '-d \'{{"model": "auto", "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}\''
)


def run(start: Start, console: Console) -> int:
    """Serves until a signal comes; the process's exit code."""
    if not sys.stderr.isatty():  # nobody reads along: what happens is for a program, too
        write_to(logging.StreamHandler(), "deploy", "router")
    stop = Stop()
    stop.install()
    try:
        with ExitStack() as stack:
            _start(stack, start, console, stop)
            _serve_until_told(start.config.server.drain_s, console, stop)
    except KeyboardInterrupt:
        pass
    except (StartFailed, OSError, RuntimeError, ValueError) as error:
        console.print(f"could not start: {error}", style="red", markup=False)
        log.error("could not start")
        return 1
    console.print("stopped")
    log.info("stopped")
    return 0


def _serve_until_told(drain_s: float, console: Console, stop: Stop) -> None:
    """Returns when requests under way have ended, or their time has."""
    try:
        stop.wait()
    except KeyboardInterrupt:
        console.print(f"draining: requests under way have {drain_s:g} s to end (a second signal stops at once)")
        log.info("draining", extra={"limit_s": drain_s})
        left = drained(drain_s, stop.hurried)
        log.info("drained", extra={"requests_left": left})


def _start(stack: ExitStack, start: Start, console: Console, stop: Stop) -> None:
    with Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        tasks: dict[str, TaskID] = {"ray": bars.add_task("Ray and Serve", total=1, state="starting")}

        def show(states: list[AppState], seconds: float) -> None:
            if len(tasks) == 1:
                stop.install()
                bars.update(tasks["ray"], completed=1, state="running")
            for app in states:
                if app.name not in tasks:
                    tasks[app.name] = bars.add_task(app.name, total=1, state="")
                done = app.status == "RUNNING"
                bars.update(tasks[app.name], completed=int(done), state=_state(app, start.config))

        stack.enter_context(serving(start, show))
    console.print(f"[green]ready[/green] on http://{start.config.server.host}:{start.port}/v1  (Ctrl-C stops)")
    console.print(EXAMPLE.format(port=start.port), markup=False, soft_wrap=True)


def _state(app: AppState, config: Config) -> str:
    """With what has been downloaded, of an engine that is loading."""
    engine = {engine_app_name(name): engine for name, engine in config.engines.items()}.get(app.name)
    loaded = download(engine, os.environ) if engine and app.status == "DEPLOYING" else ""
    return ", ".join(filter(None, [app.status.lower(), loaded]))
