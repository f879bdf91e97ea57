"""Close the earlier rows of a target whose column `current` marks each entity's newest row."""

from raypipe.clickhouse import mutations, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table
from raypipe.errors import ConfigError
from raypipe.score import targets
from raypipe.score.manifest import Manifest, PublishTarget


def day_column(table: Table, target: PublishTarget) -> str:
    """Return the column of a target that holds the date of its rows.

    Raises:
        ConfigError: the table lacks such a column, or the column that marks current rows.
    """
    names = [column.name for column in table.columns]
    day = next((name for name in ("prediction_date", "assignment_date") if name in names), None)
    if target.current not in names or day is None:
        raise ConfigError(
            f"{table.name} cannot mark which rows are current",
            found=", ".join(names),
            allowed=f"a column {target.current}, and prediction_date or assignment_date",
            next_step="correct or remove `current` in the pipeline's `publish`",
        )
    return day


def close_earlier(client: Client, manifest: Manifest, target: PublishTarget) -> None:
    """Mark the earlier rows of the run's entities as no longer current; repeating it changes nothing.

    The column is part of the target's sorting key, which cannot be updated. So a copy that is not current is written,
    then the row is deleted. Between the swap and this step, an entity has two current rows, never none.
    """
    table = twins.require_swappable(client, target.table)
    names, day = [column.name for column in table.columns], day_column(table, target)
    current, keys = identifier(str(target.current)), ", ".join(identifier(name) for name in manifest.keys)
    condition, values = targets.mark(table, manifest)
    history = identifier(target.table)
    values = {**values, "closing": manifest.date}
    outdated = (
        f"{current} = 1 AND {identifier(day)} < {{closing:Date}}"
        f" AND ({keys}) IN (SELECT {keys} FROM {history} WHERE {condition} AND {current} = 1)"
    )
    days = client.value(f"SELECT groupUniqArray({identifier(day)}) FROM {history} WHERE {outdated}", values)
    if not days:
        return
    columns = ", ".join(identifier(name) for name in names)
    copied = ", ".join(f"0 AS {current}" if name == target.current else identifier(name) for name in names)
    closed = f"FROM {history} WHERE {current} = 0 AND {identifier(day)} IN {{days:Array(Date)}}"
    values = {**values, "days": days}
    waiting = outdated
    # Mostly the night before, which has closed rows only where an earlier closing was interrupted.
    if client.value(f"SELECT count() {closed}", values):
        # Read only the closed rows of these entities: the whole history is many times larger.
        entity_day = f"{keys}, {identifier(day)}"
        closing = f"({entity_day}) IN (SELECT {entity_day} FROM {history} WHERE {outdated})"
        waiting += f" AND ({entity_day}) NOT IN (SELECT {entity_day} {closed} AND {closing})"
    client.run(
        f"INSERT INTO {history} ({columns}) SELECT {copied} FROM {history} WHERE {waiting}",
        values,
        {"prefer_column_name_to_alias": 1},
    )
    mutations.delete(client, target.table, outdated, values)
