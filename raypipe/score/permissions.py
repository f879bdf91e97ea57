"""Find the grants that a run needs and its user lacks."""

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema import grants
from raypipe.clickhouse.schema.grants import Grant
from raypipe.clickhouse.tables import describe
from raypipe.config.load import Loaded
from raypipe.errors import Denied


def lacking(client: Client, loaded: Loaded) -> tuple[Grant, ...]:
    """Return the privileges that scoring and publishing need and that the client's user lacks."""
    targets = [item.target for item in loaded.config.publish]
    own = ("ReplicatedMergeTree",) if client.topology.cluster else ("MergeTree", "Null")
    absent: dict[Grant, None] = {}
    for node in sharding.nodes(client):
        # A twin has its target's engine.
        twins = [table.engine for target in targets if (table := describe(node, target))]
        engines = dict.fromkeys((*own, *twins))
        database = node.endpoint.database
        needed = [*grants.of_scoring(database, targets, engines)]
        if node.topology.cluster:
            needed += grants.of_cluster(database)
        if node.endpoint.sharding:
            needed += grants.of_shards()
        absent |= dict.fromkeys(grants.missing(node, needed))
    return tuple(absent)


def require(client: Client, loaded: Loaded) -> None:
    """Refuse a user who could not finish the run, before the run writes anything.

    Raises:
        Denied: the user lacks a grant; all that are missing are named.
    """
    absent = lacking(client, loaded)
    if absent:
        raise Denied(
            f"{client.endpoint.user} lacks grants that a run of {loaded.config.pipeline} needs",
            found="; ".join(map(str, absent)),
            allowed="a user with the grants of scoring and publishing",
            next_step="grant them, see sql/grants.sql",
        )
