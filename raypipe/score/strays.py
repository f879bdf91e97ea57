"""Compare each target's partitions with the ledger: rows that no committed run has, and rows that are missing.

A kill in the middle of a swap leaves rows of both runs, and a server older than 26.6 may bring replaced rows back when
it restarts. The views show neither; a reader of the table itself does.
"""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema.current_views import marks
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table, describe
from raypipe.errors import Busy, RaypipeError
from raypipe.score import publish, runs
from raypipe.score.runs import Run
from raypipe.score.targets import loses_to_other_dates

log = logging.getLogger(__name__)

# A mark as the text that `_texts` makes of a run.
_COLUMNS = {
    "batch_id": "batch_id",
    "created_at": "toString(toUnixTimestamp(created_at))",
    "predicted_at": "toString(toUnixTimestamp(predicted_at))",
    "model_version": "model_version",
    "prediction_date": "toString(prediction_date)",
    "assignment_date": "toString(assignment_date)",
}


@dataclass(frozen=True)
class Finding:
    """A run's rows in a partition of a target, where they are not what the ledger says.

    Attributes:
        rows: the number of its rows in the partition.
        expected: the number that the ledger says: 0 where another run is committed for the date.
    """

    table: str
    partition: str
    run: Run
    rows: int
    expected: int

    @property
    def is_stray(self) -> bool:
        """Return whether the rows may be removed, because a later run is committed for the date."""
        return not self.expected

    def __str__(self) -> str:
        return f"{self.table}: {self.rows} rows of {self.run.run_id} instead of {self.expected}"


def find(client: Client) -> list[Finding]:
    """Return every difference between the targets and the ledger; runs that can still be resumed are left alone.

    A partition that has as many rows as the ledger says is not read.
    """
    history = runs.history(client)
    committed = runs.committed_by_day(history)
    expected: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for run in committed.values():
        for table, published in json.loads(run.published).items():
            expected[table][published["partition"]][run.run_id] += published["rows"]
    findings = []
    for table, partitions in expected.items():
        described = describe(client, table)
        if described is not None:
            findings += _differences(client, table, described, partitions, history, committed)
    return findings


def remove(client: Client, findings: Iterable[Finding]) -> list[Finding]:
    """Remove the strays, except those of pipelines at work; return those that were removed."""
    removed = []
    committed = runs.committed_by_day(runs.history(client))
    for finding in findings:
        run = finding.run
        newest = committed.get((run.pipeline, run.date))
        if not finding.is_stray or newest is None:
            continue
        try:
            with suppress(Busy), lock.held(client, run.pipeline, Owner.here(newest.run_id)):
                publish.remove_earlier(client, newest, finding.table, run)
                removed.append(finding)
        except RaypipeError as error:
            log.warning("the rows of %s were not removed: %s (%s)", run.run_id, error.problem, error.next_step)
    return removed


def _differences(
    client: Client,
    name: str,
    table: Table,
    expected: Mapping[str, Mapping[str, int]],
    history: Iterable[Run],
    committed: Mapping[tuple[str, date], Run],
) -> list[Finding]:
    counted = _rows_by_partition(client, name)
    suspicious = [
        partition for partition, rows in counted.items() if rows != sum(expected.get(partition, {}).values())
    ] + [partition for partition in expected if partition not in counted]
    if not suspicious:
        return []
    of_marks = {_texts(table, run): run for run in history}
    # While a later run is swapped in, readers find the committed run's rows in a copy.
    keepers = sorted((run for run in history if name in json.loads(run.previous or "{}")), key=lambda run: run.sequence)
    last_keeper = {(run.pipeline, run.date): run for run in keepers}
    standing = _rows_by_run(client, name, table, suspicious)
    findings = []
    for partition in suspicious:
        found = Counter({of_marks[key].run_id: rows for key, rows in standing[partition].items() if key in of_marks})
        wanted = Counter(expected.get(partition, {}))
        for run in of_marks.values():
            rows, should = found[run.run_id], wanted[run.run_id]
            newest = committed.get((run.pipeline, run.date))
            is_unfinished = newest is None or run.sequence > newest.sequence
            keeper = last_keeper.get((run.pipeline, run.date))
            is_kept = keeper is not None and keeper.sequence > run.sequence
            is_replaced = rows < should and (is_kept or loses_to_other_dates(table))
            if rows != should and not is_unfinished and not is_replaced:
                findings.append(Finding(name, partition, run, rows, should))
    return findings


def _texts(table: Table, run: Run) -> tuple[str, ...]:
    """Return a run's values of a table's marks, as text."""
    second, day = str(int(run.run_at.timestamp())), str(run.date)
    values = {
        "batch_id": run.run_id,
        "created_at": second,
        "predicted_at": second,
        "model_version": run.model_version,
        "prediction_date": day,
        "assignment_date": day,
    }
    return tuple(values[column] for column in marks(table))


def _rows_by_partition(client: Client, name: str) -> dict[str, int]:
    # No column is read: the rows of a part are known, but for those that a lightweight deletion has masked.
    rows = client.rows(f"SELECT _partition_id, count() FROM {identifier(name)} GROUP BY 1")
    return {str(partition): int(count) for partition, count in rows}


def _rows_by_run(
    client: Client, name: str, table: Table, partitions: list[str]
) -> dict[str, dict[tuple[str, ...], int]]:
    columns = ", ".join(_COLUMNS[column] for column in marks(table))
    rows = client.rows(
        f"SELECT _partition_id, {columns}, count() FROM {identifier(name)}"
        " WHERE _partition_id IN {partitions:Array(String)} GROUP BY ALL",
        {"partitions": partitions},
    )
    counted: dict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
    for partition, *key, count in rows:
        counted[partition][tuple(map(str, key))] = int(count)
    return counted
