"""Check a published run: ask a plain SQL statement, and compare its answer with the answer that the ledger expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client, QuerySettings
from raypipe.clickhouse.column_types import bare
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.schema.current_views import MARKS, compared
from raypipe.clickhouse.server_errors import STATEMENT
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table
from raypipe.errors import ServerError
from raypipe.proof.literals import filled
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.runs import Run
from raypipe.score.targets import DAYS, RUN_TIMES, loses_to_other_dates, mark

Status = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Check:
    """A check of a run.

    Attributes:
        name: the subject, such as `source` or `rows of ml_model_predictions`.
        sql: the statement, which anybody with SELECT can run again; '' for a check of files.
        found: the answer by column.
        expected: the expected answer by column.
        status: `warning` where published rows may be right all the same.
        reason: a sentence where the columns do not say enough.
    """

    name: str
    sql: str
    found: Mapping[str, Any]
    expected: Mapping[str, Any]
    status: Status
    reason: str = ""


def ask(
    client: Client,
    name: str,
    sql: str,
    parameters: Mapping[str, Any],
    expected: Mapping[str, Any],
    settings: QuerySettings | None = None,
) -> Check:
    """Run a check's statement; a statement that cannot run is wrong."""
    text = filled(sql, parameters)
    try:
        columns, rows = client.named_rows(text, settings=settings)
    except ServerError as error:
        if error.code not in STATEMENT:
            raise
        return Check(name, text, {}, expected, "wrong", f"the statement cannot run: {error.found or error.problem}")
    found = dict(zip(columns, rows[0], strict=True)) if rows else {}
    return Check(name, text, found, expected, "ok" if found == expected else "wrong")


@dataclass(frozen=True)
class TargetRows:
    """The rows that a target, and its view, must show of a run.

    Attributes:
        target: `table`, or `database.table` outside raypipe's database.
        place: the expression that reads the rows: of the target, or of the copy while a later run is swapped in.
        rows: the published rows.
        keys: the expressions of the entity's key; () where the table does not have the whole key.
        checksum: the sum of the published keys' hashes, modulo 2^64; used with `keys` alone.
    """

    target: str
    table: Table
    place: str
    rows: int
    keys: tuple[str, ...] = ()
    checksum: int = 0

    def checks(self, client: Client, run: Run) -> list[Check]:
        """Check the table, then the view."""
        at_most = loses_to_other_dates(self.table)
        view = current_views.name(self.target)
        # Rows of a later run that is being swapped in are in the table rightly.
        earlier = "\n            AND sequence <= {sequence:UInt64}"
        in_table = self._check(client, run, f"rows of {self.target}", self.place, earlier)
        in_view = self._check(client, run, f"view {view}", identifier(view))
        return [_at_most(check) if at_most else check for check in (in_table, in_view)]

    def superseded(self, client: Client, run: Run) -> list[Check]:
        """Check that neither the table nor the view has a row of a superseded run."""
        values = {**mark(self.table, run)[1], "date": run.date}
        condition = f"{_day(self.table)}{_own(self.table)}"
        view = current_views.name(self.target)
        places = {f"rows of {self.target}": identifier(self.target), f"view {view}": identifier(view)}
        return [
            ask(
                client,
                name,
                f"SELECT count() AS rows FROM {place}\nWHERE {condition}",
                values,
                {"rows": 0},
                sharding.pushing(client),
            )
            for name, place in places.items()
        ]

    def _check(self, client: Client, run: Run, name: str, place: str, others: str = "") -> Check:
        """Count the rows of the run, and those of the other runs of its date for which a condition holds."""
        own, columns = _own(self.table), compared(self.table)
        values = {**mark(self.table, run)[1], "pipeline": run.pipeline, "date": run.date, "sequence": run.sequence}
        selected = {"rows": f"countIf({own})", "rows_of_other_runs": f"countIf(NOT ({own}))"}
        expected = {"rows": self.rows, "rows_of_other_runs": 0}
        if self.keys:
            # Distinct keys take three times as long as distinct hashes, and two of a million keys share a hash once in
            # 37 million runs.
            selected["keys"] = f"uniqExactIf({_hash(self.keys)}, {own})"
            selected["checksum"] = f"sumIf({_hash(self.keys)}, {own})"
            expected |= {"keys": self.rows, "checksum": self.checksum}
        shown = ",\n    ".join(f"{expression} AS {alias}" for alias, expression in selected.items())
        sql = (
            f"SELECT\n    {shown}\nFROM {place}\n"
            f"WHERE {_day(self.table)}({', '.join(identifier(column) for column in columns)})"
            f" {'GLOBAL ' * bool(client.endpoint.sharding)}IN\n(\n"
            f"    SELECT {', '.join(MARKS[column] for column in columns)}\n"
            "    FROM (SELECT (run_id, started_at, model_version, date) AS run FROM raypipe_runs FINAL\n"
            f"        WHERE pipeline = {{pipeline:String}} AND date = {{date:Date}}{others})\n)"
        )
        return ask(client, name, sql, values, expected, sharding.pushing(client))


def _own(table: Table) -> str:
    """Return the condition for the run's rows, with the values of `raypipe.score.targets.mark`."""
    kinds = {"batch_id": "String", "model_version": "String", **dict.fromkeys(RUN_TIMES, "DateTime")}
    return " AND ".join(f"{identifier(name)} = {{mark_{name}:{kinds.get(name, 'Date')}}}" for name in compared(table))


def _day(table: Table) -> str:
    """Return the condition that keeps the statement from reading the partitions of other dates."""
    return "".join(f"{identifier(column.name)} = {{date:Date}} AND " for column in table.columns if column.name in DAYS)


def key_columns(manifest: Manifest, target: PublishTarget, table: Table) -> tuple[str, ...]:
    """Return the expressions of the entity's key in a target; () where the target does not have the whole key.

    A key column keeps its name, or becomes `entity_id`, or is a value of the JSON in `input_features`.
    """
    kinds = {column.name: bare(column.type) for column in table.columns}
    expressions = []
    for name, kind in zip(manifest.keys, manifest.key_types, strict=True):
        if kinds.get(name) == bare(kind):
            expressions.append(identifier(name))
        elif name == manifest.entity_id and "{entity_id} AS entity_id" in target.sql and "entity_id" in kinds:
            expressions.append("entity_id")
        elif f"'{name}', {name}" in target.sql and "input_features" in kinds:
            expressions.append(f"JSONExtractString(input_features, '{name}')")
        else:
            return ()
    return tuple(expressions)


def _hash(keys: Sequence[str]) -> str:
    """Return the hash that `raypipe.artifact.contract.key_hash` takes of the source's keys."""
    return f"cityHash64({', '.join(f'toString({key})' for key in keys)})"


def _at_most(check: Check) -> Check:
    found, expected = check.found.get("rows", -1), check.expected["rows"]
    if check.status == "ok" or not 0 <= found <= expected or check.found.get("rows_of_other_runs"):
        return check
    return replace(check, status="ok", reason=f"at most {expected}: the table keeps the newest row of each key")
