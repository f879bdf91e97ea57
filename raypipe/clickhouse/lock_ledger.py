"""Look for the owners of locks in the ledger of runs."""

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.errors import ServerError

UNKNOWN_TABLE = 60
# Below the epoch, the version of a row in raypipe_runs counts the steps of the row's writer.
STEP_BITS = 20


def working(client: Client, pipeline: str) -> str:
    """Return the newest run of a pipeline that the ledger says is at work, and its owner; '' without one."""
    rows = client.rows(
        "SELECT owner FROM raypipe_runs FINAL WHERE pipeline = {pipeline:String}"
        " AND status IN ('RUNNING', 'STAGED', 'PUBLISHING') ORDER BY version DESC LIMIT 1",
        {"pipeline": pipeline},
    )
    return str(rows[0][0]) if rows else ""


def last_epoch(client: Client, pipeline: str) -> int:
    """Return the highest epoch that wrote a row of the ledger."""
    sql = f"SELECT max(bitShiftRight(version, {STEP_BITS})) FROM raypipe_runs WHERE pipeline = {{pipeline:String}}"
    return _ask(client, sql, {"pipeline": pipeline})


def has_row(client: Client, run_id: str) -> bool:
    """Return whether the ledger knows a run."""
    return bool(_ask(client, "SELECT count() FROM raypipe_runs WHERE run_id = {run_id:String}", {"run_id": run_id}))


def _ask(client: Client, sql: str, parameters: Parameters) -> int:
    """Return a number from the ledger; 0 in a database without one."""
    try:
        return int(client.value(sql, parameters))
    except ServerError as error:
        if error.code != UNKNOWN_TABLE:
            raise
        return 0
