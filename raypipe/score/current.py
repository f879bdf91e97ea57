"""Targets that say which row of an entity is its current one: the earlier ones are closed once a run is committed."""

from __future__ import annotations

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table
from raypipe.errors import ConfigError
from raypipe.score import publish
from raypipe.score.manifest import Manifest, Target


def day_column(table: Table, target: Target) -> str:
    """The column of a target that holds the date of its rows.

    Raises:
        ConfigError: there is none, or the table lacks the column that says which row is current.
    """
    names = [column.name for column in table.columns]
    day = next((name for name in ("prediction_date", "assignment_date") if name in names), None)
    if target.current not in names or day is None:
        raise ConfigError(
            f"{table.name} cannot tell which rows are current",
            found=", ".join(names),
            allowed=f"a column {target.current}, and prediction_date or assignment_date",
            next_step="correct `current` in the pipeline's `publish`, or take it out",
        )
    return day


def close_earlier(client: Client, manifest: Manifest, target: Target) -> None:
    """Marks the earlier rows of the run's entities as no longer current; repeating it changes nothing.

    The column is part of the target's sorting key, which cannot be updated: a copy that is not current is written, then
    the row goes. Between the swap and this, an entity has two current rows, never none.
    """
    table = publish.require_target(client, target)
    names, day = [column.name for column in table.columns], day_column(table, target)
    current, keys = identifier(str(target.current)), ", ".join(identifier(name) for name in manifest.keys)
    condition, values = publish.mark(table, manifest.run_id, manifest.model_version, manifest, manifest.run_at)
    everywhere = client.topology.everywhere(target.table)
    values = {**values, "closing": manifest.date}
    outdated = (
        f"{current} = 1 AND {identifier(day)} < {{closing:Date}}"
        f" AND ({keys}) IN (SELECT {keys} FROM {everywhere} WHERE {condition} AND {current} = 1)"
    )
    if not publish.count(client, target.table, outdated, values):
        return
    columns = ", ".join(identifier(name) for name in names)
    copied = ", ".join(f"0 AS {current}" if name == target.current else identifier(name) for name in names)
    # Of the closed rows only those of what is to be closed: the whole history is many times the entities.
    entity_day = f"{keys}, {identifier(day)}"
    closing = f"({entity_day}) IN (SELECT {entity_day} FROM {everywhere} WHERE {outdated})"
    closed = f"SELECT {entity_day} FROM {everywhere} WHERE {current} = 0 AND {closing}"
    client.run(
        f"INSERT INTO {identifier(target.table)} ({columns}) SELECT {copied} FROM {identifier(target.table)}"
        f" WHERE {outdated} AND ({entity_day}) NOT IN ({closed})",
        values,
        {"prefer_column_name_to_alias": 1},
    )
    sql, settings = client.topology.delete(target.table, outdated)
    client.run(sql, values, settings)
