"""Delete rows without a connection that waits, and follow the deletion in system.mutations."""

import time
import uuid
from contextlib import suppress

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import identifier, literal
from raypipe.errors import Denied, ServerError

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 2.0
# A lightweight deletion is refused where the table has projections.
SUPPORT_IS_DISABLED = 344


def delete(client: Client, table: str, condition: str, parameters: Parameters | None = None) -> None:
    """Delete the rows of a condition, and return when no reader sees them.

    The server sends no progress while it deletes, so a long deletion would outlast any connection.

    Raises:
        ServerError: the server cannot delete the rows, or no part is done within the connection's timeout.
    """
    tag, tagged = _tagged(condition)
    sql = f"DELETE FROM {identifier(table)} WHERE {tagged}"
    try:
        client.run(sql, parameters, {"lightweight_deletes_sync": 0})
    except ServerError as error:
        if error.code != SUPPORT_IS_DISABLED:
            raise
        rewrite(client, table, condition, parameters)
    else:
        _await(client, table, tag)


def rewrite(client: Client, table: str, condition: str, parameters: Parameters | None = None) -> None:
    """Delete the rows of a condition as `delete` does, and return when their space is free, too."""
    tag, tagged = _tagged(condition)
    client.run(f"ALTER TABLE {identifier(table)} DELETE WHERE {tagged}", parameters, {"mutations_sync": 0})
    _await(client, table, tag)


def _tagged(condition: str) -> tuple[str, str]:
    """Return a tag and the condition with it: others may delete from the table at the same time."""
    tag = f"raypipe-{uuid.uuid4().hex}"
    return tag, f"({condition}) AND {literal(tag)} != ''"


def _await(client: Client, table: str, tag: str) -> None:
    """Wait for a mutation. A server forgets finished mutations, so one that is not listed is done."""
    own = f"table = {literal(table.rpartition('.')[2])} AND position(command, {literal(tag)}) > 0"
    pause, before, since = FIRST_PAUSE_SECONDS, -1, time.monotonic()
    sql = f"SELECT parts_to_do, latest_fail_reason FROM system.mutations WHERE {own} AND NOT is_done"
    while rows := client.rows(sql):
        parts, failure = rows[0]
        if parts != before:
            before, since = parts, time.monotonic()
        is_late = time.monotonic() - since > client.endpoint.timeout_seconds
        if failure or is_late:
            # Left alone, the server would try again for ever, and hold up every later deletion.
            with suppress(Denied):
                client.run(f"KILL MUTATION WHERE {own} SYNC")
            raise ServerError(
                f"ClickHouse did not delete rows from {table}",
                found=failure or f"{parts} parts to do, none done in {client.endpoint.timeout_seconds} seconds",
                next_step=f"look at system.mutations and system.merges for {table}, then repeat the command",
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
