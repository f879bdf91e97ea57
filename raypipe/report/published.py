"""Read the committed rows of a run with names in the place of ids, by the pipeline's report.sql."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, load, without_comments
from raypipe.config.load import Loaded
from raypipe.errors import DataError, UsageError
from raypipe.project import has_sql, shipped
from raypipe.report.names import REFERENCES
from raypipe.score import runs
from raypipe.score.runs import Run

SHOWN_DATES = 5


@dataclass(frozen=True)
class Published:
    """Published rows of a run, in the order of report.sql."""

    run: Run
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def named(self) -> "Published":
        """Leave out the columns of ids that have names."""
        kept = [at for at, column in enumerate(self.columns) if not any(column.endswith(end) for end in REFERENCES)]
        rows = tuple(tuple(row[at] for at in kept) for row in self.rows)
        return Published(self.run, tuple(self.columns[at] for at in kept), rows)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows as JSON-ready values."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def committed_run(client: Client, pipeline: str, day: date | None) -> Run:
    """Return the run that readers see of a date, or of the newest date.

    Raises:
        UsageError: nothing is published for the date; the message lists the newest dates.
    """
    condition, values = "pipeline = {pipeline:String} AND status = 'PUBLISHED'", {"pipeline": pipeline}
    found = runs.committed_by_day(runs.select(client, condition, values, columns={"manifest": "''"}))
    dates = sorted((known for _, known in found), reverse=True)
    chosen = found.get((pipeline, day or (dates or [date.min])[0]))
    if chosen:
        return chosen
    raise UsageError(
        f"{pipeline} has published nothing{f' for {day}' if day else ''}",
        found="no committed run",
        allowed=", ".join(str(known) for known in dates[:SHOWN_DATES]) or "no date yet",
        next_step=f"`raypipe run {pipeline}{f' --date {day}' if day else ''}` publishes it",
    )


def published(client: Client, loaded: Loaded, run: Run, *, key: str = "", limit: int) -> Published:
    """Return the first rows of a run; with a key, the rows of this entity alone.

    Raises:
        UsageError: the run published no row with this key.
        DataError: report.sql lacks the column of the entity.
    """
    sql, values = _select(loaded), {"run_id": run.run_id, "date": run.date, "most": limit, "key": key}
    if not key:
        columns, rows = client.named_rows(f"SELECT * FROM (\n{sql}\n) LIMIT {{most:UInt64}}", values)
        return Published(run, tuple(columns), tuple(rows))
    columns, _ = client.named_rows(f"SELECT * FROM (\n{sql}\n) LIMIT 0", values)
    column = _key_column(columns, loaded)
    where = f"toString({identifier(column)}) = {{key:String}}"
    columns, rows = client.named_rows(f"SELECT * FROM (\n{sql}\n) WHERE {where} LIMIT {{most:UInt64}}", values)
    if not rows:
        raise UsageError(
            f"{run.pipeline} has published nothing for this {loaded.config.entity.type}",
            found=f"no row with {column} = {key} of {run.date}",
            next_step=f"`raypipe show {run.pipeline} --date {run.date}` shows keys; `raypipe why` finds the reason",
        )
    return Published(run, tuple(columns), tuple(rows))


def _select(loaded: Loaded) -> str:
    path = loaded.sql(f"{loaded.config.pipeline}/report.sql")
    if not has_sql(path):
        path = shipped() / "sql" / "report" / "published.sql"
    return without_comments(load(path).text)


def _key_column(columns: Sequence[str], loaded: Loaded) -> str:
    for name in (loaded.config.entity.id, "entity_id"):
        if name in columns:
            return name
    raise DataError(
        f"report.sql of {loaded.config.pipeline} has no column of the entity",
        found=", ".join(columns),
        allowed=loaded.config.entity.id,
        next_step="add the column, or leave out --key",
    )
