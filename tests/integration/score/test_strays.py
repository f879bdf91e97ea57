"""Test which differences between a target and the ledger are found."""

from __future__ import annotations

import json

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.score import strays

TARGET = "t"


def committed(client: Client, day: int, rows: int) -> None:
    """Record a committed run of a day, with a number of rows in the target."""
    published = json.dumps({TARGET: {"partition": "all", "rows": rows}})
    columns = "run_id, pipeline, date, status, sequence, model_version, started_at, published"
    began = f"2026-02-{day:02} 03:00:00"
    client.run(
        f"INSERT INTO raypipe_runs ({columns})"
        f" VALUES ('churn_{day}', 'churn', '2026-01-{day:02}', 'PUBLISHED', {day}, 'v', '{began}', '{published}')"
    )


@pytest.mark.parametrize(("key", "lost"), [("segment", False), ("(segment, created_at)", True)])
def test_rows_that_a_table_merges_away_for_another_date_are_not_lost(client: Client, key: str, lost: bool) -> None:
    migrate(client)
    client.run(
        f"CREATE TABLE {TARGET} (segment String, model_version String, created_at DateTime('UTC'))"
        f" ENGINE = ReplacingMergeTree(created_at) ORDER BY {key}"
    )
    for day in (1, 2):
        committed(client, day, 3)
    client.run(f"INSERT INTO {TARGET} SELECT toString(number), 'v', '2026-02-02 03:00:00' FROM numbers(3)")
    found = [(finding.run.run_id, finding.rows, finding.expected) for finding in strays.find(client)]
    assert found == ([("churn_1", 0, 3)] if lost else [])
