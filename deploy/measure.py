"""`symposium profile`: what it reads, writes and draws. What it shows is in `deploy/measured.py`; what is asked and
counted is in `router/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import httpx
import typer

from deploy.measured import bars, print_result
from deploy.show import LOCAL, ConfigFile, Key, Url, err, fail, load_config, out
from deploy.teach import offline_embedder

if TYPE_CHECKING:
    from router.calibration import Calibration
    from router.collect import Collected
    from router.config import Config
    from router.journal import Journal
    from router.profile import Measured
    from router.questions import LabelledQuestion

T = TypeVar("T")

INTERRUPTED = 130  # a shell's code for an end by Ctrl-C
PER_SKILL = 10  # questions on which aggregators are measured: each costs several requests


def profile(  # noqa: PLR0913  # one argument for each option of the command
    config: ConfigFile,
    *,
    questions: Annotated[
        Path | None,
        typer.Option(help="Labelled questions with answers (JSONL or parquet).", show_default="needed, but for --plot"),
    ] = None,
    experts: Annotated[str, typer.Option(help="Only these, as in math,text.", show_default="all that answer")] = "",
    aggregators: Annotated[
        bool, typer.Option("--aggregators", help="Measure who aggregates best: one right response, two wrong ones.")
    ] = False,
    per_skill: Annotated[
        int | None,
        typer.Option(min=1, help="With --aggregators: questions of each skill.", show_default=str(PER_SKILL)),
    ] = None,
    url: Url = LOCAL,
    api_key: Key = "",
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests under way, over all experts.")] = 32,
    max_tokens: Annotated[int, typer.Option(min=1, help="Room for each answer.")] = 64,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an unfinished run has kept.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Also draw who is right at what, and how P(right) is calibrated (PNG). Without --questions, asks "
            "nobody and draws what was measured before."
        ),
    ] = None,
) -> None:
    """Measure experts on labelled questions through the running symposium; goes on where a run was cut off."""
    from router.calibration import Calibration
    from router.journal import open_journal, partial_path
    from router.profiles import Profiles
    from router.questions import read

    _check(aggregators, per_skill, plot)
    loaded = load_config(config)
    target = Path(loaded.routing.profiles)
    if questions is None:
        _draw_alone(loaded, plot, bool(experts or aggregators or restart))
        return
    names = _chosen(loaded, experts, aggregators)
    try:
        known = Profiles.load(target)
        calibration = Calibration(read(questions), max_tokens)
        with open_journal(partial_path(target, "aggregators" if aggregators else ""), restart) as journal:
            asking = _Asking(url, api_key, concurrency, journal)
            if aggregators:
                work = _aggregators(asking, loaded, calibration, names, per_skill or PER_SKILL)
                measured, note = _until_done(work, journal)
                updated = known.updated_aggregators(measured.profiles)
            else:
                measured, note = _until_done(_answers(asking, calibration, names), journal), ""
                updated = known.updated(measured.profiles)
            if measured.profiles:
                updated.save(target)
            if not aggregators:
                note = _learned(loaded, calibration, measured)
            if not measured.failed:
                journal.close_for(set(names))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"{url}: {error}. Is a symposium served there? (`symposium serve`, or --url)")
    except (ValueError, OSError) as error:
        fail(str(error))
    print_result(measured, target, note)
    if plot:
        _draw(loaded, plot, calibration.questions)
    raise typer.Exit(1 if measured.failed else 0)


def _check(aggregators: bool, per_skill: int | None, plot: Path | None) -> None:
    """Ends the command where options go against each other, or no picture could be drawn of what it measures."""
    from router.pictures import need_matplotlib

    if per_skill is not None and not aggregators:
        fail("--per-skill: goes with --aggregators; without it every question is asked")
    if plot and aggregators:
        fail("--plot: draws experts that answer questions; it does not go with --aggregators")
    if plot:
        try:
            need_matplotlib()
        except ValueError as error:
            fail(str(error))


def _chosen(config: Config, wanted: str, aggregators: bool) -> list[str]:
    """The experts to measure: all that answer questions, and at aggregating those made for it too; or some of them."""
    parts, do = (("aggregator", "answers"), "aggregates or answers") if aggregators else (("answers",), "answers")
    able = [name for part in parts for name, expert in config.experts.items() if expert.part == part]
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    if unknown := [name for name in names if name not in able]:
        fail(f"--experts: no expert that {do} questions: {', '.join(unknown)}; there are {', '.join(able)}")
    return names or able


@dataclass(frozen=True, slots=True)
class _Asking:
    """Who is asked over how many connections, and where what was said is kept."""

    url: str
    api_key: str
    concurrency: int
    journal: Journal


async def _answers(asking: _Asking, calibration: Calibration, names: list[str], panels: bool = False) -> Measured:
    """Args: panels: whether experts are asked to aggregate; a panel that an expert cannot read is a wrong answer."""
    from router.asking import connect
    from router.profile import measure

    at_once = asking.concurrency
    async with connect(asking.url, asking.api_key, at_once) as client:
        with bars(err, "right") as show:
            return await measure(
                client, calibration, names, asking.journal, show, concurrency=at_once, too_long_is_wrong=panels
            )


async def _aggregators(
    asking: _Asking, config: Config, calibration: Calibration, names: list[str], per_skill: int
) -> tuple[Measured, str]:
    """The candidates, and what they are to be compared with.

    Raises ValueError when no question has one right and two wrong responses.
    """
    from router.panels import CHANCE, panels, sample

    asked = sample(calibration, per_skill)
    collected = await _responses(asking, asked, config.answering)
    for name, why in collected.failed.items():
        err.print(f"no responses of {name}: {why}", style="yellow", markup=False, soft_wrap=True)
    found, total = len(collected.triples), len(asked.by_key)
    if not found:
        raise ValueError(
            f"none of {total} questions got one right and two different wrong responses, so nobody can be measured at "
            "aggregating them; use more questions (--per-skill), or harder ones"
        )
    chosen = panels(asked, collected.triples, config.convening.max_chars)
    return await _answers(asking, chosen, names, panels=True), (
        f"{found} questions with one right and two wrong responses each: by chance {CHANCE:.0%} would be right; "
        f"{total - found} of {total} questions got no such responses and were left out"
    )


async def _responses(asking: _Asking, calibration: Calibration, names: Sequence[str]) -> Collected:
    from router.asking import connect
    from router.collect import collect

    async with connect(asking.url, asking.api_key, asking.concurrency) as client:
        with bars(err, "with one right and two wrong") as show:
            told = partial(show, "responses")
            return await collect(client, calibration, names, asking.journal, told, concurrency=asking.concurrency)


def _learned(config: Config, calibration: Calibration, measured: Measured) -> str:
    """Learns from who answered what, where the configuration says so; what came of it, for a person."""
    from router.fitted import Fitted
    from router.learn import Settings, answered, learn

    routing = config.routing
    if routing.learned is None:
        return ""
    if missing := sorted(set(config.answering) - measured.answers.keys()):
        return f"{routing.learned} is as it was: it is learned from answers of all experts, and {missing[0]} gave none"
    settings = Settings(routing.prior_strength, routing.skill_floor, routing.max_skills, routing.embedder.max_chars)
    versions = {name: profile.expert_version for name, profile in measured.profiles.items()}
    try:
        temperature = Fitted.load(Path(routing.fitted), routing.embedder.model).classifier.temperature
        embed = offline_embedder(routing.embedder, lambda count: None)
        found = learn(answered(calibration, measured.answers), versions, temperature, embed, settings)
    except ValueError as error:  # the profiles are saved, and are routed by alone
        return f"{routing.learned} is as it was: {error}"
    found.save(Path(routing.learned))
    told = found.report
    return (
        f"learned from {told['questions']} questions, each judged by parts fitted without it: one expert each is right "
        f"for {told['chosen']:.1%} (best single {told['best_single']:.1%}), Brier score of P(right) "
        f"{told['brier']:.3f} ({told['brier_of_base_rates']:.3f} by overall rates); written to {routing.learned}"
    )


def _until_done(work: Coroutine[None, None, T], journal: Journal) -> T:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        err.print(f"stopped; the answers so far are in {journal.path}; the same command goes on", markup=False)
        raise typer.Exit(INTERRUPTED) from None


def _draw_alone(config: Config, plot: Path | None, more: bool) -> None:
    """Draws what was measured before. `more`: there are options that say what to ask."""
    if plot is None or more:
        fail("--questions: needed, but where --plot alone is to draw what was measured before")
    _draw(config, plot, ())


def _draw(config: Config, plot: Path, questions: Sequence[LabelledQuestion]) -> None:
    """Args: questions: those that were asked; without any, skills are grouped as what was learned says."""
    from router.learn import category_of_skill
    from router.pictures import file_of
    from router.profile_plot import draw

    file = file_of(plot)
    try:
        note = draw(config, file, category_of_skill(questions))
    except (ValueError, OSError) as error:
        fail(str(error))
    out.print(f"drawn into {file}", markup=False, soft_wrap=True)
    if note:
        err.print(note, style="yellow", markup=False, soft_wrap=True)


def stale_profiles(config: Config) -> tuple[str, ...]:
    """Experts whose profile, as expert or as aggregator, is of something else than what is configured now; said, too.

    A profile file that cannot be used is said as well, and is for `symposium serve` to refuse.
    """
    from experts.version import expert_versions
    from router.profiles import Profiles, stale, stale_aggregators

    try:
        known = Profiles.load(Path(config.routing.profiles))
        versions = expert_versions(config.experts, config.engines)
    except (ValueError, OSError) as error:
        err.print(str(error), style="yellow", markup=False, soft_wrap=True)
        return ()
    answering, aggregating = stale(known, versions), stale_aggregators(known, versions)
    say_stale(answering)
    say_stale(aggregating, aggregators=True)
    return tuple(dict.fromkeys((*answering, *aggregating)))


def say_stale(names: Sequence[str], aggregators: bool = False) -> None:
    """Warns of profiles that are of something else than what is configured now."""
    if names:
        what, option = ("profiles as aggregators", "--aggregators ") if aggregators else ("profiles", "")
        err.print(
            f"{what} of other versions than those configured now: {', '.join(names)}; they are used until "
            f"`symposium profile {option}--experts {','.join(names)}` has measured anew",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
