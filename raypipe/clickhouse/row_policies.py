"""Refuse to replace rows that the user may not see, because a row policy hides them."""

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import locate
from raypipe.errors import GateRefused

# How often rows and parts are counted while merges or inserts change the parts.
PATIENCE = 5


def require_visible(client: Client, table: str, partition: str) -> None:
    """Refuse to replace a partition of which the user sees only some rows.

    Raises:
        GateRefused: the partition's parts hold more rows than the user counts.
    """
    for _ in range(PATIENCE):
        rows, parts = _parts(client, table, partition)
        visible = _visible(client, table, partition)
        # A merge or an insert between the two counts changes the parts.
        if rows == visible or (rows, parts) == _parts(client, table, partition):
            break
    if rows != visible:
        raise GateRefused(
            f"{table} has rows that the user {client.endpoint.user} may not see, and that would be replaced",
            found=f"{rows} rows in the parts of the partition {partition}, {visible} of them visible",
            allowed="a partition whose rows are all visible",
            next_step=f"exempt the user from the row policies of {table}, or write to a table without them",
        )


def _parts(client: Client, table: str, partition: str) -> tuple[int, int]:
    """Return the rows of a partition's parts, which no policy hides, and a number that changes with the parts."""
    database, name = locate(client, table)
    ((rows, parts),) = client.rows(
        "SELECT sum(rows), groupBitXor(cityHash64(name)) FROM system.parts"
        " WHERE active AND database = {database:String} AND table = {table:String}"
        " AND partition_id = {partition:String}",
        {"database": database, "table": name, "partition": partition},
    )
    return int(rows), int(parts)


def _visible(client: Client, table: str, partition: str) -> int:
    # Parts keep deleted rows until they are merged.
    return int(
        client.value(
            f"SELECT count() FROM {identifier(table)} WHERE _partition_id = {{partition:String}}",
            {"partition": partition},
            {"apply_deleted_mask": 0},
        )
    )
