"""`symposium validate` and `symposium schema`: what a configuration says, checked as far as can be without serving it.

Reads, calls, prints. What is wrong with the YAML is found in `router/config_file.py`, what cannot be reached in
`router/reach.py`, and what probes expect is compared in `router/probes.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.measure import stale_profiles
from deploy.show import AsJson, err, out, print_json
from experts.spec import Wrong
from router.config import Config
from router.config_file import Inspected, Problem, inspect_config
from router.config_problems import checked
from router.yaml_env import hidden
from router.yaml_files import read_tree
from router.yaml_tree import place_of, plain

if TYPE_CHECKING:
    from router.knowledge import Knowledge
    from router.probes import Probed, Probes
    from router.records import Query

PROBES = "probes.yaml"


@dataclass(slots=True)
class Verdict:
    """What there is to say of one configuration."""

    path: Path
    config: Config | None
    problems: list[Problem]
    warnings: list[Problem] = field(default_factory=list)
    stale: tuple[str, ...] = ()
    probes: int | None = None  # how many were checked

    @property
    def valid(self) -> bool:
        return not self.problems

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"config": str(self.path), "valid": self.valid}
        found |= {"version": self.config.hash} if self.config else {}
        found |= {"problems": [p.json() for p in self.problems], "warnings": [w.json() for w in self.warnings]}
        return found | {"stale_profiles": self.stale} | ({} if self.probes is None else {"probes": self.probes})


def validate(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Routing YAMLs.")],
    probes: Annotated[
        bool, typer.Option("--probes", help=f"Also check the probes beside each: NAME/{PROBES} or {PROBES}.")
    ] = False,
    probes_file: Annotated[Path | None, typer.Option(help="Probes of this file instead, for all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong with configurations; exit 1 if anything is."""
    verdicts = [_verdict(path, _probes_of(path, probes, probes_file)) for path in configs]
    for verdict in verdicts:
        if as_json:
            print_json(verdict.json())
        else:
            _print(verdict)
    raise typer.Exit(0 if all(verdict.valid for verdict in verdicts) else 1)


def schema() -> None:
    """Print the JSON Schema of a configuration, which editors complete and check by."""
    from router.config_schema import schema_text

    sys.stdout.write(schema_text())


def _probes_of(path: Path, wanted: bool, file: Path | None) -> Path | None:
    """Several configurations in one folder may each have a folder of their name, with what belongs to it."""
    own = path.with_suffix("") / PROBES
    beside = own if own.exists() else path.parent / PROBES
    return file or (beside if wanted else None)


def _verdict(path: Path, probes: Path | None) -> Verdict:
    found = inspect_config(path)
    verdict = Verdict(path, found.config, found.problems)
    if found.config is not None:
        verdict.stale = stale_profiles(found.config)
        know = _knowledge(found, found.config, verdict)
        if know is not None and probes is not None:
            _check_probes(probes, know, verdict, found.tree.variables)
    return verdict


def _knowledge(found: Inspected, config: Config, verdict: Verdict) -> Knowledge | None:
    """What a router would load, which says what can be reached; None where it cannot be loaded, which is said."""
    from router.fitted import Fitted
    from router.knowledge import Knowledge
    from router.profiles import Profiles
    from router.reach import FITTED, reached

    def said(wrongs: Iterable[Wrong]) -> list[Problem]:
        return [Problem(found.place(at), at, hidden(why, found.tree.variables)) for at, why in wrongs]

    routing = config.routing
    if not Path(routing.fitted).exists():  # as of a configuration that `symposium fit` is yet to be run for
        verdict.warnings += said([(FITTED, f"no such file yet: {routing.fitted}; `symposium fit` makes it")])
        return None
    try:
        fitted = Fitted.load(Path(routing.fitted), routing.embedder.model)
    except (ValueError, OSError) as error:
        verdict.problems += said([(FITTED, str(error))])
        return None
    try:
        profiles = Profiles.load(Path(routing.profiles))
        reach = reached(config, fitted, profiles)
        verdict.problems += said(reach.errors)
        verdict.warnings += said(reach.warnings)
        return Knowledge.load(config) if not reach.errors else None
    except (ValueError, OSError) as error:
        verdict.problems += said([(("routing",), f"cannot be served: {error}")])
    return None


def _check_probes(path: Path, know: Knowledge, verdict: Verdict, variables: Mapping[str, str]) -> None:
    """`variables`: those that the configuration took from the environment."""
    from transformers.utils import logging

    from router.embedders import open_embedder
    from router.probes import Probes, probed, unknown_names

    tree = read_tree(path, os.environ)

    def said(wrongs: Iterable[Wrong]) -> list[Problem]:
        used = {**variables, **tree.variables}
        return [Problem(place_of(tree.root, at), at, hidden(why, used)) for at, why in wrongs]

    wanted, wrong = checked(Probes, plain(tree.root)) if tree.whole else (None, [])
    if wanted is not None:
        wrong = list(unknown_names(wanted.probes, know))
    verdict.problems += [*tree.problems, *said(wrong)]
    if wanted is None or wrong or tree.problems:
        return
    logging.disable_progress_bar()
    try:
        embed = open_embedder(know.config.routing.embedder)
    except ValueError as error:
        verdict.problems.append(Problem(place_of(tree.root, ()), (), hidden(str(error), variables)))
        return
    found = asyncio.run(probed(wanted.probes, know, embed, _ask(know.config), time.monotonic))
    verdict.probes = len(found)
    verdict.problems += said(_differences(wanted, found))


def _differences(wanted: Probes, found: Sequence[Probed]) -> Iterable[Wrong]:
    for index, (probe, one) in enumerate(zip(wanted.probes, found, strict=True)):
        short = probe.prompt if len(probe.prompt) <= 60 else f"{probe.prompt[:59]}…"
        yield from ((("probes", index, *at), f"{short!r} to '{probe.policy}': {why}") for at, why in one.wrong)


def _ask(config: Config) -> Callable[[str, str], Query]:
    """A request as a client would send it, read as the API reads it."""
    import orjson

    from router.api.schema import parse_chat

    def ask(model: str, prompt: str) -> Query:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        return parse_chat(orjson.dumps(body), "probe", config.server.limits)

    return ask


def _print(verdict: Verdict) -> None:
    def lines(problems: Sequence[Problem], style: str) -> None:
        for problem in problems:
            err.print(f"  {problem}", style=style, markup=False, highlight=False, soft_wrap=True)

    if not verdict.valid:
        err.print(f"{verdict.path} is not valid:", style="red", markup=False, soft_wrap=True)
        lines(verdict.problems, "")
    lines(verdict.warnings, "yellow")
    if verdict.valid and (config := verdict.config) is not None:
        probes = "" if verdict.probes is None else f", {verdict.probes} probes pass"
        out.print(
            f"[green]valid[/green], version {config.hash}: {len(config.engines)} engines, "
            f"{len(config.experts)} experts, policies {', '.join(config.policies)}{probes}",
            soft_wrap=True,
        )
