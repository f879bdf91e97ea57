"""The tables of a cluster with several shards: on every node, in each of its three databases (see `sharding`)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from raypipe.clickhouse.endpoint import Endpoint, Sharding
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.schema.declarations import Declaration
from raypipe.clickhouse.sharding import DISTRIBUTED, HOME, SHARE, over
from raypipe.clickhouse.tables import Table

# The first shard has all rows of the tables that are not sharded.
FIRST = "0"


def databases(sharding: Sharding, declarations: Sequence[Declaration]) -> Iterator[tuple[Endpoint, list[Declaration]]]:
    """Yield each database of each node with its tables and views, in the order of their creation."""
    share, home = sharding.database + SHARE, sharding.database + HOME
    views = {current_views.name(item.name): item.table for item in declarations if item.sharded}
    # Tables and views of the share alone come first: what another table is made over has to exist.
    own: list[Declaration] = []
    in_share: list[Declaration] = []
    at_home: list[Declaration] = []
    for_users: list[Declaration] = []
    for declaration in declarations:
        over_shares: list[Declaration] = []
        if declaration.name in views:
            table = views[declaration.name]
            rows = current_views.sharded_rows(table)
            own.append(rows)
            in_share.append(declaration)
            over_shares = [_over(sharding, rows.name, share), current_views.sharded_view(table)]
        elif declaration.sharded:
            own.append(declaration)
            over_shares = [_over(sharding, declaration.name, share, f"sipHash64({declaration.sharded})")]
        else:
            in_share.append(_over(sharding, declaration.name, home, FIRST))
        at_home += over_shares or [declaration]
        for_users += over_shares or [_over(sharding, declaration.name, home, FIRST)]
    for node in sharding.shards:
        yield node, own
        yield replace(node, database=home), at_home
        yield node, in_share
        yield replace(node, database=sharding.database), for_users


def _over(sharding: Sharding, name: str, database: str, key: str = "") -> Declaration:
    """Declare a Distributed table."""
    ddl = over(sharding, name, database, key)
    engine = ddl.partition(" ENGINE = ")[2]
    return Declaration(
        Table(name, DISTRIBUTED, engine, (), "", (), {}, None), f"CREATE TABLE IF NOT EXISTS {ddl}", is_published=False
    )
