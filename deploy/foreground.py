"""What `symposium serve` shows: a line per engine while it loads, where it is ready, a clean end."""

from __future__ import annotations

from contextlib import ExitStack

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from deploy.cluster import AppState
from deploy.local import StartFailed, Stop, serving
from router.config import Config

EXAMPLE = (
    "curl http://127.0.0.1:{port}/v1/chat/completions -H 'content-type: application/json' "
    '-d \'{{"model": "auto", "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}\''
)


def run(config: Config, port: int, console: Console) -> int:
    """Serves until a signal comes; the process's exit code."""
    stop = Stop()
    stop.install()
    try:
        with ExitStack() as stack:
            _start(stack, config, port, console, stop)
            stop.wait()
    except KeyboardInterrupt:
        pass
    except (StartFailed, OSError, RuntimeError, ValueError) as error:
        console.print(f"could not start: {error}", style="red", markup=False)
        return 1
    console.print("stopped")
    return 0


def _start(stack: ExitStack, config: Config, port: int, console: Console, stop: Stop) -> None:
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
                bars.update(tasks[app.name], completed=int(done), state=app.status.lower())

        stack.enter_context(serving(config, port, show))
    console.print(f"[green]ready[/green] on http://{config.server.host}:{port}/v1  (Ctrl-C stops)")
    console.print(EXAMPLE.format(port=port), markup=False, soft_wrap=True)
