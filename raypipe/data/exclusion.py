"""Keep a day's features from being replaced while a run reads them.

Each side looks for the other once it shows itself: the features by their lock, a run by its row in `raypipe_runs`. So
of two that begin at once, at least one sees the other and stops.
"""

from collections.abc import Collection
from datetime import date

from raypipe.clickhouse import lock, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.lock_ledger import UNKNOWN_TABLE
from raypipe.data.pin import PinnedTable
from raypipe.errors import Busy, ServerError

# The name of the features in locks, as of a pipeline, and their table.
FEATURES = "features"
USER_FEATURES = "customer_user_features"

# A run reads its source until its predictions are published. A run of another date reads the day where it joins the
# whole table, or where a partition holds more days than one.
_READERS = """
SELECT run_id, pipeline, date
FROM raypipe_runs FINAL
WHERE status IN ('RUNNING', 'STAGED') AND arrayExists(
    item -> JSONExtractString(item, 'table') = {table:String}
        AND (date = {day:Date} OR JSONExtractBool(item, 'whole') OR {shared:Bool}),
    JSONExtractArrayRaw(manifest, 'pinned'))
ORDER BY started_at
"""


def require_unread(client: Client, day: date, *, shared: bool) -> None:
    """Refuse to change a day of features while a run at work reads it.

    Args:
        shared: whether the day's partition holds other days, too.

    Raises:
        Busy: names the run.
    """
    for run_id, pipeline, scored in _readers(client, day, shared):
        held = lock.holder(client, pipeline)
        if held is not None and held.run_id == run_id and not held.is_dead:
            raise Busy(
                f"The features of {day} are not changed while a run reads them",
                found=f"{held}, which scores {scored}",
                next_step=f"repeat the command when the run has ended; `raypipe resume {run_id}` ends a run that died",
            )


def _readers(client: Client, day: date, shared: bool) -> list[tuple[str, str, date]]:
    table = _table(client)
    try:
        return client.rows(_READERS, {"table": table, "day": day, "shared": shared})
    except ServerError as error:
        if error.code != UNKNOWN_TABLE:
            raise
        return []


def require_at_rest(client: Client, day: date, pinned: Collection[PinnedTable]) -> None:
    """Refuse to read a day of features while another process may change it.

    Args:
        pinned: the tables that the run reads.

    Raises:
        Busy: names the process.
    """
    read = next((item for item in pinned if item.table == _table(client)), None)
    held = lock.holder(client, FEATURES) if read else None
    # A process that died may have left a day new on one shard and old on another.
    if read is None or held is None or (held.is_dead and not client.endpoint.sharding):
        return
    if read.whole or _may_change(held, day):
        raise Busy(
            f"The features of {day} are being computed",
            found=str(held),
            next_step="repeat the command when the features are done, or "
            f"`raypipe features --date {day} --take-over` when that process is surely dead",
        )


def _table(client: Client) -> str:
    """Return the table of the features as pins name it, which on a cluster is the shards' own."""
    return f"{sharding.shards(client)[0].endpoint.database}.{USER_FEATURES}"


def _may_change(builder: Owner, day: date) -> bool:
    first, _, last = builder.days.partition(" ")
    return not builder.days or first <= day.isoformat() <= last
