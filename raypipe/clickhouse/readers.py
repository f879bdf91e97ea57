"""Wait for the readers of the views over all shards.

Such a reader learns from the ledger which run to show, and then reads each shard, perhaps a moment later. The rows that
the ledger named must stand until then. On one server a query reads both as of one time.
"""

import logging
import time

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.current_views import PREFIX
from raypipe.clickhouse.statements import literal
from raypipe.clickhouse.swaps import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, SETTLING_SECONDS

log = logging.getLogger(__name__)

# A user's own view may read raypipe's, so the text of a query does not tell what it reads. raypipe's statements do.
_READERS = """
SELECT DISTINCT query_id
FROM clusterAllReplicas(%s, system.processes)
WHERE is_initial_query AND query_kind = 'Select' AND query_id != queryID()
    AND (NOT startsWith(query_id, 'raypipe-') OR position(query, {views:String}) > 0)
"""


def await_current(client: Client) -> None:
    """Wait until the queries that run now are over, at most SETTLING_SECONDS; one server needs no wait.

    By then, a query that is not over reads the shards: what it reads stands as long as it reads.
    """
    if client.endpoint.sharding is None:
        return
    sql = _READERS % literal(client.endpoint.sharding.cluster)
    waiting = _ids(client, sql)
    pause, deadline = FIRST_PAUSE_SECONDS, time.monotonic() + SETTLING_SECONDS
    while waiting:
        if time.monotonic() > deadline:
            log.warning("%d queries are older than the publication, which no longer waits for them", len(waiting))
            return
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        waiting &= _ids(client, sql)


def _ids(client: Client, sql: str) -> set[str]:
    return {query_id for (query_id,) in client.rows(sql, {"views": PREFIX})}
