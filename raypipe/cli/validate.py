"""Define `raypipe validate`, and print validations."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from raypipe.cli import output
from raypipe.cli.dates import parse_day
from raypipe.cli.metrics import SUMMARY, cell
from raypipe.cli.options import Options, Pipeline, command
from raypipe.clickhouse.client import Client
from raypipe.validate.records import Validation
from raypipe.validate.validate import Estimate, ValidationResult
from raypipe.validate.validate import validate as validate_all

ESTIMATED = ("auc", "precision", "recall", "f1")


@command("finished validations are kept; repeat the command for the rest", reads="validate")
def validate(
    options: Options,
    pipeline: Pipeline,
    date: str | None = typer.Option(None, metavar="DATE", help="Show one date in detail: YYYY-MM-DD."),
) -> None:
    """Compare earlier predictions with what happened.

    Predictions are judged once the snapshot at the end of their horizon exists. Each batch is judged once, and the
    result is written to ml_model_monitoring; `raypipe run` and `nightly` do the same for the newest batches.
    Predictions of other tools count where the pipeline has an earlier.sql.

    Example: raypipe validate churn --date 2026-01-01
    """
    day = None if date is None else parse_day(date, "--date")
    with (
        options.pipeline(pipeline, ads=True) as (endpoint, loaded),
        Client(endpoint) as client,
        output.progress() as progress,
    ):
        result = validate_all(client, loaded, day, progress)
    options.show({"pipeline": pipeline, **document(result)}, _print, pipeline, result, day is not None)


def _print(pipeline: str, result: ValidationResult, in_detail: bool) -> None:
    show(pipeline, result)
    for validated in result.validations if in_detail else ():
        _details(validated)


def document(result: ValidationResult) -> dict[str, Any]:
    """Return the JSON of validations."""
    return {
        "validations": [validated.to_json() for validated in result.validations],
        "new": result.new,
        "waiting": [{"date": day, "until": until} for day, until in result.waiting],
        "remaining": result.remaining,
        "estimates": [_estimate(estimate) for estimate in result.estimates],
        "reason": result.reason,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    """Return the JSON of an estimate."""
    shown = ("value", "low", "high", "reason")
    return {
        "date": estimate.batch.date,
        "run_id": estimate.batch.run_id,
        "until": estimate.until,
        "rows": max(row.rows for row in estimate.metrics),
        **{row.metric: {name: getattr(row, name) for name in shown} for row in estimate.metrics},
    }


def _show_estimates(pipeline: str, estimates: Sequence[Estimate]) -> None:
    documents = [_estimate(estimate) for estimate in estimates]
    rows = [
        (
            document["date"],
            document["run_id"],
            document["rows"],
            *(cell(document.get(name), interval=True) for name in ESTIMATED),
            document["auc"]["reason"],
        )
        for document in documents
    ]
    title = f"{pipeline}: estimates from calibrated scores, while the outcomes are not known"
    output.table(("date", "by", "rows", *ESTIMATED, ""), rows, title)


def show(pipeline: str, result: ValidationResult) -> None:
    """Print a line for each validation and estimate, and the next date whose outcome will be known."""
    if result.reason:
        output.say(f"nothing to validate: {result.reason}")
    if result.estimates:
        _show_estimates(pipeline, result.estimates)
    if not result.validations:
        return
    names = [name for name in SUMMARY if any(name in validated.evaluation for validated in result.validations)]
    rows = [
        (
            validated.batch.date,
            _author(validated),
            validated.rows,
            validated.left_out,
            *(cell(validated.evaluation.get(name)) for name in names),
            _remark(validated),
        )
        for validated in result.validations
    ]
    title = f"{pipeline}: earlier predictions and their outcomes"
    output.table(("date", "by", "judged", "without outcome", *names, ""), rows, title)
    if result.waiting:
        (day, until), more = result.waiting[0], len(result.waiting) - 1
        others = f", and {more} more dates wait" if more else ""
        output.say(f"outcomes for {day} need the snapshot of {until}{others}")


def _details(validated: Validation) -> None:
    for name, first in (("levels", "level"), ("reliability", "score")):
        bins = validated.evaluation.get(name)
        if not bins:
            continue
        total = validated.rows
        rows = [(_bin(row), row["rows"], row["rows"] / total, row["predicted"], row["observed"]) for row in bins]
        title = f"{validated.batch.date}, {_author(validated)}: {'by level' if name == 'levels' else 'calibration'}"
        output.table((first, "entities", "share", "mean score", "observed"), rows, title)


def _bin(row: Mapping[str, Any]) -> str:
    return str(row["level"]) if "level" in row else f"{row['from']:.1f} to {row['to']:.1f}"


def _author(validated: Validation) -> str:
    return validated.batch.run_id or f"another tool, version {validated.batch.model_version or 'unnamed'}"


def _remark(validated: Validation) -> str:
    if validated.reason or not validated.worse:
        return validated.reason
    ((metric, then),) = validated.fitted.items()
    return f"worse than at the fit ({metric} {then['value']:.4f})"
