"""`raypipe audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.options import Options, Pipeline, command
from raypipe.clickhouse.client import Client

if TYPE_CHECKING:
    from raypipe.proof.audit import Audit


@command()
def audit(
    options: Options,
    pipeline: Pipeline,
    date: str = typer.Option(LATEST, metavar="DATE", help="The published date: YYYY-MM-DD, or latest."),
) -> None:
    """Compare the features of a published date with the source now.

    A run keeps fingerprints of the rows that it read, for a sample of entities. The audit reads the same entities again
    through the SQL that the run froze. A column that changed means one of three things: rows of the date came late; the
    source is updated in place; or the query looks at the clock or beyond its date, so that a fit on past dates sees
    more than a run on that date could. Exit 3 when anything changed.

    Example: raypipe audit churn --date 2026-01-31
    """
    day = parse_date(date)
    with options.pipeline(pipeline) as (endpoint, loaded), Client(endpoint) as client:
        from raypipe.proof.audit import audit as compared

        result = compared(client, loaded.config.pipeline, day)
    options.show(document(result), _print, result)
    if not result.is_same:
        raise typer.Exit(failures.REFUSED)


def document(result: Audit) -> dict[str, Any]:
    """Return the JSON of an audit."""
    return {
        "pipeline": result.run.pipeline,
        "run_id": result.run.run_id,
        "date": result.run.date,
        "same": result.is_same,
        "rows_read": result.run.source_rows,
        "rows": result.rows,
        "same_population": result.same_population,
        "sample": {"entities": result.sampled, "new": result.new, "gone": result.gone},
        "changed": [change.column for change in result.changed],
        "columns": [vars(change) for change in result.changes],
        "seconds": result.seconds,
    }


def _print(result: Audit) -> None:
    shown = {name: value for name, value in document(result).items() if name != "columns"}
    sample = f"{result.sampled:,} entities; {result.new:,} are new now and {result.gone:,} are gone"
    columns = f"{len(result.changed)} of {len(result.changes)}"
    output.pairs("audit", {**shown, "sample": sample, "changed": columns})
    rows = [(item.column, item.entities, item.entities / result.compared) for item in result.changed]
    if rows:
        output.table(("column that changed", "entities of the sample", "share"), rows)
