"""Define `raypipe verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import parse_date
from raypipe.cli.options import Options, command
from raypipe.errors import UsageError, advised
from raypipe.score import runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raypipe.clickhouse.client import Client
    from raypipe.proof.verify import Verification


@command()
def verify(
    options: Options,
    run_id: str | None = typer.Argument(None, metavar="RUN", help="The run's id, as `raypipe runs` lists it."),
    date: str | None = typer.Option(
        None, metavar="DATE", help="Verify the published runs of this date: YYYY-MM-DD, or latest."
    ),
    pipeline: str | None = typer.Option(None, metavar="PIPELINE", help="With --date, only this pipeline's run."),
    sql: bool = typer.Option(False, "--sql", help="Print every statement, not only those of wrong checks."),
) -> None:
    """Prove a published run by plain SQL that anybody can run again.

    The statements have all values filled in: paste them into any client that is connected to the database. They compare
    the source with the frozen plan, the slices with the source, the model with the registry and its files, and rows,
    distinct keys and key checksum of each target and of its view with the ledger. Rows of another run of the date are
    wrong. A source that has changed since is a warning, because the published rows may be right all the same. Exit 3
    when anything is wrong, or the run is not published.

    Example: raypipe verify churn_20260131_4f0c1a2b --sql
    """
    if (run_id is None) == (date is None) or (run_id and pipeline):
        raise UsageError(
            "verify takes one run, or a date",
            found="both" if run_id else "neither",
            allowed="RUN, or --date DATE with or without --pipeline PIPELINE",
            next_step="`raypipe runs` lists the runs",
        )
    with options.client() as client:
        from raypipe.proof import verify as proof

        found = [proof.verify(client, run) for run in _runs(client, run_id, date, pipeline)]
        database = client.endpoint.database
    options.show({"database": database, "runs": [document(result) for result in found]}, _print, found, sql)
    if not all(result.is_ok for result in found):
        raise typer.Exit(failures.REFUSED)


def _runs(client: Client, run_id: str | None, day: str | None, pipeline: str | None) -> list[runs.Run]:
    from raypipe.proof import verify as proof

    if run_id is None:
        return proof.committed(client, parse_date(str(day)), pipeline)
    with advised("`raypipe runs` lists the runs of this database"):
        return [runs.find(client, run_id)]


def document(result: Verification) -> dict[str, Any]:
    """Return the JSON of a verified run."""
    return {
        "run_id": result.run.run_id,
        "pipeline": result.run.pipeline,
        "date": result.run.date,
        "status": result.status,
        "superseded_by": result.superseded_by,
        "ok": result.is_ok,
        "checks": [{**vars(check), "ok": check.status == "ok"} for check in result.checks],
        "seconds": result.seconds,
    }


def _print(results: Sequence[Verification], every: bool) -> None:
    for result in results:
        later = f", by {result.superseded_by}" if result.superseded_by else ""
        title = f"{result.run.run_id}: {result.status}{later}, verified in {result.seconds:.2f} s"
        if not result.checks:
            output.say(f"{result.run.run_id} is {result.status}, so there is nothing to verify")
            continue
        rows = [
            (check.name, check.status, check.reason or _shown(check.found), _shown(check.expected))
            for check in result.checks
        ]
        output.table(("check", "", "found", "expected"), rows, title)
        for check in result.checks if every else result.wrong:
            if check.sql:
                output.say(f"\n-- {check.name}\n{check.sql};")


def _shown(answer: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in answer.items())
