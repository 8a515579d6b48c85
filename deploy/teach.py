"""The command by which a router learns: `symposium fit`. It reads, calls and prints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from deploy.show import AsJson, ConfigFile, err, fail, load_config, out, print_json, table

if TYPE_CHECKING:
    from router.config import Embedder as EmbedderSettings
    from router.embed import Embedder

CURVE_POINTS = ("0.0", "0.3", "0.5", "0.7", "0.8", "0.9", "0.95")  # of the abstention curve, the ones printed


def fit(
    config: ConfigFile,
    questions: Annotated[Path, typer.Option(help="Labelled questions (JSONL or parquet).")],
    test: Annotated[Path | None, typer.Option(help="More, only asked: wordings that --questions lacks.")] = None,
    foreign: Annotated[Path | None, typer.Option(help="Questions about nothing known (JSONL or parquet).")] = None,
    seed: int = 0,
    report: Annotated[Path | None, typer.Option(help="Also write all figures to this file (JSON).")] = None,
    as_json: AsJson = False,
) -> None:
    """Train the category classifier and the skill vocabulary from labelled questions."""
    from router.fit import fit as run_fit
    from router.fit import texts_embedded
    from router.questions import read, read_texts

    loaded = load_config(config)
    try:
        known, asked = read(questions), read(test) if test else []
        others = read_texts(foreign) if foreign else []
        with Progress(console=err) as bars:
            bar = bars.add_task("embedding", total=texts_embedded(known, asked, others))
            embed = offline_embedder(loaded.routing.embedder, lambda count: bars.advance(bar, count))
            fitted = run_fit(
                known, embed, seed, min_confidence=loaded.routing.min_confidence, test=asked, foreign_texts=others
            )
        fitted.save(Path(loaded.routing.fitted))
        if report:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(json.dumps(fitted.report, indent=1) + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        fail(str(error))
    if as_json:
        print_json(fitted.report)
    else:
        _print_report(fitted.report)
        out.print(f"written to {loaded.routing.fitted}", markup=False)


def offline_embedder(settings: EmbedderSettings, on_batch: Callable[[int], object]) -> Embedder:
    """The configured model, each text of which is embedded once and kept on disk."""
    from router.embedders import PACKAGED, InBatches, Unopened, model_folder
    from router.vectors import Cached, cache_folder

    if settings.model in PACKAGED:  # they need no hub; asking one would only wait for its time-out
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = cache_folder(settings.model, settings.max_chars, model_folder(settings.model))
    return InBatches(Cached(Unopened(settings, os.cpu_count() or 1), folder), on_batch=on_batch)


def _print_report(report: dict[str, Any]) -> None:
    columns = {"cross-validated": report["cross_validated"], "test file": report["test"]}
    columns = {name: found for name, found in columns.items() if found}
    rows = [
        ("questions", *(f["questions"] for f in columns.values())),
        ("category accuracy", *(_share(f["category_accuracy"]) for f in columns.values())),
        ("skill accuracy", *(_share(f["skill_accuracy"]) for f in columns.values())),
        ("calibration error (ECE)", *(f"{f['category_ece']:.3f}" for f in columns.values())),
        ("Brier score", *(f"{f['brier']:.3f}" for f in columns.values())),
        ("log loss", *(f"{f['log_loss']:.3f}" for f in columns.values())),
        ("known, yet to general", *(_share(f["abstained"]["share"]) for f in columns.values())),
        ("  as unfamiliar", *(_percent(f["abstained"]["unfamiliar"]) for f in columns.values())),
        ("  as unsure", *(_percent(f["abstained"]["unsure"]) for f in columns.values())),
    ]
    title = f"wordings never seen, of {report['wordings']} in {len(report['categories'])} categories"
    out.print(table(title, ["figure", *columns], rows))
    if found := report["foreign"]:
        why = f"{_percent(found['unfamiliar'])} as unfamiliar, {_percent(found['unsure'])} as unsure"
        out.print(f"foreign, to general: {_share(found['share'])} of {found['questions']}: {why}\n", markup=False)
    last = columns.get("test file") or report["cross_validated"]
    _print_details(last)
    if report["test"] and (seen := report["test"]["questions_of_wordings_fitted_on"]):
        err.print(f"{seen} test questions are of wordings that were fitted on: their figures flatter", style="yellow")


def _print_details(found: dict[str, Any]) -> None:
    from router.fit_report import most_confused

    curve = {str(p["threshold"]): p for p in found["abstention_curve"]}
    rows = [
        (t, _percent(curve[t]["abstained"]), "" if curve[t]["accuracy"] is None else _percent(curve[t]["accuracy"]))
        for t in CURVE_POINTS
    ]
    out.print(table("confidence asked for", ["at least", "abstain", "accuracy of the rest"], rows))
    if pairs := most_confused(found["confusion"]):
        out.print(table("most confused", ["category", "taken for", "questions"], pairs))


def _share(value: dict[str, Any]) -> str:
    low, high = value["interval"]
    return f"{_percent(value['value'])} ({100 * low:.1f}–{100 * high:.1f})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
