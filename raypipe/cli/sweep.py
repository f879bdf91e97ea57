"""Define `raypipe sweep`."""

import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.metrics import SUMMARY, WITH_INTERVAL, cell
from raypipe.cli.options import AsOf, Options, command, endpoint_of
from raypipe.errors import UsageError


@command(reads="sweep", fits=True)
def sweep(
    options: Options,
    pipeline: str | None = typer.Argument(None, metavar="PIPELINE", help="The pipeline to search for."),
    matrix: Path | None = typer.Option(None, metavar="FILE", help="A YAML file that crosses several pipelines."),
    trials: int | None = typer.Option(None, min=1, metavar="N", help="Configurations to try. Default: sweep.trials."),
    resume: str | None = typer.Option(None, metavar="NAME", help="Continue a sweep that was stopped or killed."),
    as_of: AsOf = LATEST,
) -> None:
    """Search for a better configuration; register the best as a candidate.

    `sweep.space` in the pipeline's config lists the values to vary. Trials see training and validation rows alone; the
    best configuration and the pipeline's own are compared once, on the test snapshot. Ctrl-C keeps finished trials.

    Example: raypipe sweep churn --trials 20
    """
    if (pipeline is None) == (matrix is None):
        raise UsageError(
            "A sweep needs a pipeline or a matrix, and not both",
            found="neither" if pipeline is None else "both",
            allowed="raypipe sweep churn, or raypipe sweep --matrix configs/sweeps/demo.yaml",
            next_step="name one pipeline, or one file with --matrix",
        )
    name = resume or _new_name(str(pipeline or Path(str(matrix)).stem))
    options.after_interrupt = f"`{_again(options, pipeline, matrix, trials, name)}` continues with the finished trials"
    day = parse_date(as_of, "--as-of")
    options.overrides += (f"sweep.trials={trials}",) if trials else ()
    if matrix is not None:
        document = _matrix(options, matrix, name, day, bool(resume))
        options.show(document, _print_matrix, document)
        if document["failed"]:
            raise typer.Exit(failures.FAILED)
        return
    with options.pipeline(str(pipeline)) as (endpoint, loaded), output.progress() as progress:
        # Ray comes along; `--help` and other commands stay quick without it.
        from raypipe.sweep.sweep import sweep_pipeline

        progress(f"sweep {name}", 0, 0)
        document = sweep_pipeline(endpoint, loaded, name, progress, as_of=day, resume=bool(resume))
    options.show(document, _print, document)


def _again(options: Options, pipeline: str | None, matrix: Path | None, trials: int | None, name: str) -> str:
    """Return the command that continues a sweep: it repeats the values that the sweep began with."""
    given = [("--matrix", matrix), ("--trials", trials), ("--config", options.config), ("--url", options.url)]
    words = [part for option, value in given if value is not None for part in (option, str(value))]
    words += [part for value in options.overrides for part in ("--set", value)]
    return shlex.join(["raypipe", "sweep", *([pipeline] if pipeline else []), *words, "--resume", name])


def _matrix(options: Options, path: Path, name: str, day: date | None, resume: bool) -> dict[str, Any]:
    from raypipe.sweep import matrix

    cells = matrix.load_cells(path, options.config, options.overrides, options.url)
    with endpoint_of(cells[0][1].config.connection) as endpoint, output.progress() as progress:
        progress(f"sweep {name}", 0, 0)
        return matrix.sweep_matrix(endpoint, cells, name, progress, as_of=day, resume=resume)


def _new_name(subject: str) -> str:
    # Names of tables contain it.
    plain = re.sub(r"[^A-Za-z0-9_]", "_", subject)
    return f"{plain}_{datetime.now(UTC):%Y%m%d}_{secrets.token_hex(4)}"


def _print(document: Mapping[str, Any]) -> None:
    best, default, metric = document["best"], document["default"], document["metric"]
    shown = [metric, *(name for name in SUMMARY if name in best["test"] and name != metric)]
    rows: list[list[object]] = [["default (test)", *_cells(default["test"], shown)]]
    if not best["is_default"]:
        rows.append(["best (test)", *_cells(best["test"], shown)])
        rows.append(["best (validation)", *_cells(best["validation"], shown)])
    trials = document["trials"]
    counts = f"{trials['done']} trials, {trials['stopped_early']} stopped early, {trials['failed']} failed"
    output.table(["", *shown], rows, f"{document['sweep']}: {counts}")
    if best["is_default"]:
        output.say("no trial was better than the pipeline's own configuration; nothing was registered")
        return
    output.table(("best", "value"), list(best["values"].items()))
    if default["not_in_space"]:
        output.say(f"the pipeline's own configuration lies outside the space: {', '.join(default['not_in_space'])}")
    output.say(document["comparison"]["reason"])
    output.say(document["decision"]["reason"])
    output.warn(document["warnings"])
    if document["model_version"]:
        output.say(f"registered as {document['model_version']}, a candidate; the champion stays")


def _print_matrix(document: Mapping[str, Any]) -> None:
    rows = [_row(item) for item in document["cells"]]
    columns = ("cell", "trials", "metric", "default (test)", "best (test)", "difference", "candidate")
    output.table(columns, rows, f"{document['sweep']}: {len(rows)} cells in {document['seconds']:.0f} s")
    for item in document["cells"]:
        if item["error"]:
            output.say(f"{item['cell']} failed: {item['error']}")


def _row(item: Mapping[str, Any]) -> list[object]:
    result = item["result"]
    if result is None:
        return [item["cell"], "failed", "", "", "", "", ""]
    metric, comparison = result["metric"], result["comparison"]
    difference = "the default is the best"
    if comparison is not None:
        difference = cell({**comparison, "value": comparison["difference"]})
    tests = (result["default"]["test"], result["best"]["test"])
    measured = [text for test in tests for text in _cells(test, [metric])]
    return [item["cell"], result["trials"]["done"], metric, *measured, difference, result["model_version"] or ""]


def _cells(metrics: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    shown = []
    for name in names:
        metric = metrics.get(name)
        measured = metric if isinstance(metric, Mapping) else {"value": metric}
        shown.append(cell(measured, interval=name == names[0] or name in WITH_INTERVAL))
    return shown
