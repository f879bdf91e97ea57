"""The command that searches for a better configuration."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from raypipe.cli import output
from raypipe.cli.metrics import WITH_INTERVAL
from raypipe.cli.options import LATEST, AsOf, Config, Debug, Json, Set, Url, endpoint_of, parse_date, pipeline_of
from raypipe.errors import UsageError

# Of the metrics that a table shows besides the one that decides.
SHOWN = ("auc", "log_loss", "brier", "rmse", "mae", "r2")

# Ray comes along with `raypipe.sweep`, so that `--help` and the other commands stay quick.
app = typer.Typer()


@app.command()
def sweep(
    pipeline: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="The pipeline's name: churn is configs/churn.yaml.")
    ] = None,
    matrix: Annotated[
        Path | None,
        typer.Option("--matrix", metavar="FILE", help="Instead of PIPELINE: a YAML file that crosses several."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, metavar="N", help="Configurations to try. Default: sweep.trials.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="NAME", help="Go on with a sweep that was stopped or killed.")
    ] = None,
    as_of: AsOf = LATEST,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for a better configuration of a pipeline, and register the best as a candidate.

    `sweep.space` in the pipeline's config says what is varied. Trials see training and validation rows only; the best
    and the pipeline's own configuration are compared once, on the test snapshot. Ctrl-C keeps what is finished.

    Example: raypipe sweep churn --trials 20
    """
    if (pipeline is None) == (matrix is None):
        with output.reported(debug):
            raise UsageError(
                "A sweep is of one pipeline or of one matrix",
                found="neither" if pipeline is None else "both",
                allowed="raypipe sweep churn, or raypipe sweep --matrix configs/sweeps/demo.yaml",
            )
    named = resume or _new_name(str(pipeline or Path(str(matrix)).stem))
    again = _again(pipeline, matrix, trials, config, url, overrides, named)
    with output.reported(debug, f"`{again}` goes on with what is finished"):
        day = parse_date(as_of, "--as-of")
        changes = [*(overrides or ()), *([f"sweep.trials={trials}"] if trials else ())]
        if matrix is not None:
            document = _matrix(matrix, named, config, url, changes, day, bool(resume))
            _show_matrix(document, json)
            if document["failed"]:
                raise typer.Exit(output.FAILED)
            return
        with pipeline_of(str(pipeline), config, url, changes) as (endpoint, loaded), output.progress() as progress:
            from raypipe.sweep import sweep

            progress(f"sweep {named}", 0, 0)
            document = sweep.sweep_pipeline(endpoint, loaded, named, progress, as_of=day, resume=bool(resume))
        if json:
            output.emit(document)
        else:
            _show(document)


def _again(
    pipeline: str | None,
    matrix: Path | None,
    trials: int | None,
    config: Path | None,
    url: str | None,
    overrides: Sequence[str] | None,
    name: str,
) -> str:
    """The command that goes on: a sweep goes on with the values that it began with, and no others."""
    given = [("--matrix", matrix), ("--trials", trials), ("--config", config), ("--url", url)]
    words = [part for option, value in given if value is not None for part in (option, str(value))]
    words += [part for value in overrides or () for part in ("--set", value)]
    return shlex.join(["raypipe", "sweep", *([pipeline] if pipeline else []), *words, "--resume", name])


def _matrix(
    path: Path, name: str, config: Path | None, url: str | None, changes: Sequence[str], day: date | None, resume: bool
) -> dict[str, Any]:
    from raypipe.sweep import matrix

    cells = matrix.load_cells(path, config, changes, url)
    connection = cells[0][1].config.connection
    with endpoint_of(connection) as endpoint, output.progress() as progress:
        progress(f"sweep {name}", 0, 0)
        return matrix.sweep_matrix(endpoint, cells, name, progress, as_of=day, resume=resume)


def _new_name(what: str) -> str:
    # Names of tables are made of it.
    plain = re.sub(r"[^A-Za-z0-9_]", "_", what)
    return f"{plain}_{datetime.now(UTC):%Y%m%d}_{secrets.token_hex(4)}"


def _show(document: Mapping[str, Any]) -> None:
    best, default, metric = document["best"], document["default"], document["metric"]
    shown = [metric, *(name for name in SHOWN if name in best["test"] and name != metric)]
    rows: list[list[object]] = [["default (test)", *_cells(default["test"], shown)]]
    if not best["is_default"]:
        rows.append(["best (test)", *_cells(best["test"], shown)])
        rows.append(["best (validation)", *_cells(best["validation"], shown)])
    trials = document["trials"]
    counts = f"{trials['done']} trials, {trials['stopped_early']} stopped early, {trials['failed']} failed"
    title = f"{document['sweep']}: {counts}"
    output.table(["", *shown], rows, title)
    if best["is_default"]:
        output.say("no trial was better than the pipeline's own configuration; nothing was registered")
        return
    output.table(("best", "value"), list(best["values"].items()))
    if default["not_in_space"]:
        output.say(f"the pipeline's own configuration lies outside of the space: {', '.join(default['not_in_space'])}")
    output.say(document["comparison"]["reason"])
    output.say(document["decision"]["reason"])
    for warning in document["warnings"]:
        output.say(f"warning: {warning}")
    if document["model_version"]:
        output.say(f"registered as {document['model_version']}, a candidate; the champion stays")


def _show_matrix(document: Mapping[str, Any], json: bool) -> None:
    if json:
        output.emit(document)
        return
    rows = [_row(cell) for cell in document["cells"]]
    columns = ("cell", "trials", "metric", "default (test)", "best (test)", "difference", "candidate")
    output.table(columns, rows, f"{document['sweep']}: {len(rows)} cells in {document['seconds']:.0f} s")
    for cell in document["cells"]:
        if cell["error"]:
            output.say(f"{cell['cell']} failed: {cell['error']}")


def _row(cell: Mapping[str, Any]) -> list[object]:
    found = cell["result"]
    if found is None:
        return [cell["cell"], "failed", "", "", "", "", ""]
    metric, best = found["metric"], found["best"]
    compared = found["comparison"]
    difference = "the default is the best" if compared is None else _span(compared["difference"], compared)
    return [
        cell["cell"],
        found["trials"]["done"],
        metric,
        *_cells(found["default"]["test"], [metric]),
        *_cells(best["test"], [metric]),
        difference,
        found["model_version"] or "",
    ]


def _cells(metrics: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [_cell(metrics.get(name), name == names[0] or name in WITH_INTERVAL) for name in names]


def _cell(found: Any, with_interval: bool) -> str:
    if isinstance(found, Mapping):
        value = found.get("value")
        return "–" if value is None else _span(value, found) if with_interval else f"{value:.4f}"
    return "–" if found is None else f"{found:.4f}"


def _span(value: float, bounds: Mapping[str, Any]) -> str:
    if bounds.get("low") is None:
        return f"{value:.4f}"
    return f"{value:.4f} [{bounds['low']:.4f}, {bounds['high']:.4f}]"
