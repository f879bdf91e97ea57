"""The command that holds earlier predictions against what happened, and how validations are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from raypipe.cli import output
from raypipe.cli.metrics import cell
from raypipe.cli.options import Config, Debug, Json, Pipeline, Set, Url, parse_day, pipeline_of
from raypipe.clickhouse.client import Client
from raypipe.validate import validate as validation
from raypipe.validate.records import Validation

app = typer.Typer()

METRICS = ("auc", "log_loss", "brier", "rmse", "mae", "r2")


@app.command()
def validate(
    pipeline: Pipeline,
    date: Annotated[
        str | None,
        typer.Option("--date", metavar="DATE", help="Only the predictions of this date, in detail: YYYY-MM-DD."),
    ] = None,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare earlier predictions with what happened, where the days that their label looks at are over.

    What was not judged before is judged now and written to ml_model_monitoring; `raypipe run` and `nightly` do the
    same for the newest. Predictions that other tools wrote count where the pipeline has an earlier.sql.

    Example: raypipe validate churn --date 2026-01-01
    """
    with output.reported(debug, "what was judged is kept; repeat the command for the rest"):
        day = None if date is None else parse_day(date, "--date")
        with (
            pipeline_of(pipeline, config, url, overrides, bandits=True) as (endpoint, loaded),
            Client(endpoint) as client,
            output.progress() as progress,
        ):
            outcome = validation.validate(client, loaded, day, progress)
        if json:
            output.emit({"pipeline": pipeline, **document(outcome)})
            return
        show(pipeline, outcome)
        if day is not None:
            for one in outcome.validations:
                _details(one)


def document(outcome: validation.ValidationResult) -> dict[str, Any]:
    """The JSON of an outcome."""
    return {
        "validations": [one.to_json() for one in outcome.validations],
        "new": outcome.new,
        "waiting": [{"date": day, "until": until} for day, until in outcome.waiting],
        "remaining": outcome.remaining,
        "reason": outcome.reason,
    }


def show(pipeline: str, outcome: validation.ValidationResult) -> None:
    """Prints a line for each validation, and what is still open."""
    if outcome.reason:
        output.say(f"nothing to validate: {outcome.reason}")
    if outcome.validations:
        names = [name for name in METRICS if any(name in one.evaluation for one in outcome.validations)]
        rows = [
            (
                one.batch.date,
                _maker(one),
                one.rows,
                one.left_out,
                *(cell(one.evaluation.get(name)) for name in names),
                _remark(one),
            )
            for one in outcome.validations
        ]
        title = f"{pipeline}: earlier predictions and what came of them"
        output.table(("date", "by", "judged", "without outcome", *names, ""), rows, title)
    if outcome.validations and outcome.waiting:
        (day, until), more = outcome.waiting[0], len(outcome.waiting) - 1
        others = f", and {more} more wait" if more else ""
        output.say(f"the outcome of {day} is known once there is a snapshot of {until}{others}")


def _details(one: Validation) -> None:
    for name, first in (("levels", "level"), ("reliability", "score")):
        found = one.evaluation.get(name)
        if not found:
            continue
        total = one.rows
        rows = [(_bin(row), row["rows"], row["rows"] / total, row["predicted"], row["observed"]) for row in found]
        title = f"{one.batch.date}, {_maker(one)}: {'by level' if name == 'levels' else 'calibration'}"
        output.table((first, "entities", "share", "mean score", "observed"), rows, title)


def _bin(row: Mapping[str, Any]) -> str:
    return str(row["level"]) if "level" in row else f"{row['from']:.1f} to {row['to']:.1f}"


def _maker(one: Validation) -> str:
    return one.batch.run_id or f"another tool, version {one.batch.model_version or 'unnamed'}"


def _remark(one: Validation) -> str:
    if one.reason or not one.worse:
        return one.reason
    ((metric, then),) = one.fitted.items()
    return f"worse than at the fit ({metric} {then['value']:.4f})"
