"""Count the rows that the views show of the last dates' runs, in one statement per view."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.schema.current_views import MARKS, compared
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table, describe
from raypipe.score import runs
from raypipe.score.runs import Run
from raypipe.score.targets import DAYS, loses_to_other_dates

DATES = 7


def committed(client: Client) -> list[Run]:
    """Return the committed runs of the last dates, newest first, without their manifests."""
    by_day = runs.committed_by_day(runs.history(client))
    dates = sorted({day for _, day in by_day})[-DATES:]
    return sorted((run for (_, day), run in by_day.items() if day in dates), key=lambda run: run.date, reverse=True)


def wrong(client: Client, committed_runs: list[Run]) -> dict[str, list[str]]:
    """Return by committed run the sentences about views that show something else; the runs are those of `committed`."""
    found = defaultdict(list)
    by_target: dict[str, list[Run]] = defaultdict(list)
    for run in committed_runs:
        for target in json.loads(run.published):
            by_target[target].append(run)
    for target, of_target in by_target.items():
        for run_id, sentence in _wrong(client, target, of_target):
            found[run_id].append(sentence)
    return dict(found)


def _wrong(client: Client, target: str, of_target: list[Run]) -> Iterator[tuple[str, str]]:
    view, table = current_views.name(target), describe(client, target)
    if table is None or describe(client, view) is None:
        missing = target if table is None else view
        yield from ((run.run_id, f"{missing} does not exist") for run in of_target)
        return
    shown = _shown(client, table, view, of_target)
    for run in of_target:
        expected = json.loads(run.published)[target]["rows"]
        own, others = 0, 0
        for (run_id, pipeline, day), rows in shown.items():
            if run_id == run.run_id:
                own = rows
            elif (pipeline, day) == (run.pipeline, run.date):
                others += rows
        if others or own > expected or (own < expected and not loses_to_other_dates(table)):
            yield run.run_id, f"{view} shows {own} of {expected} rows, and {others} of other runs"


def _shown(client: Client, table: Table, view: str, of_target: list[Run]) -> dict[tuple[str, str, date], int]:
    """Return the rows that a view shows by run."""
    columns = compared(table)
    names = [column.name for column in table.columns]
    keys = ", ".join(identifier(column) for column in columns)
    days = [f"{identifier(name)} >= {{first:Date}}" for name in DAYS if name in names]
    times = ["created_at >= {began:DateTime}"] if "created_at" in names else ["1"]
    rows = client.rows(
        f"SELECT run_id, pipeline, date, rows FROM (SELECT {keys}, count() AS rows FROM {identifier(view)}"
        f" WHERE {' AND '.join(days or times)} GROUP BY {keys}) AS shown"
        " INNER JOIN (SELECT run.1 AS run_id, pipeline, run.4 AS date,"
        f" {', '.join(f'{MARKS[column]} AS {identifier(column)}' for column in columns)}"
        " FROM (SELECT pipeline, (run_id, started_at, model_version, date) AS run FROM raypipe_runs FINAL"
        f" WHERE date >= {{first:Date}})) AS ledger USING ({keys})",
        {"first": min(run.date for run in of_target), "began": min(run.run_at for run in of_target)},
        sharding.pushing(client),
    )
    return {(run_id, pipeline, day): int(count) for run_id, pipeline, day, count in rows}
