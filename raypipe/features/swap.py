"""A finished day takes its place in customer_user_features, in one step that readers see whole or not at all.

Partitioned by day, the table gets the twin's partition in the place of its own. In a table that came with larger
partitions a new day is moved in, which touches nothing else; a day that is there already is exchanged together with
the rest of its partition: a second twin gets that partition's parts (links, no copies), loses the old day, gets the
new one, and replaces the partition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import Table, describe, split_expressions
from raypipe.errors import Busy, ConfigError, DataError, RaypipeError
from raypipe.features.sources import USER_FEATURES, statement

# Partition keys by which a partition is one day and nothing else.
DAILY = {"feature_date", "toYYYYMMDD(feature_date)", "toDate(feature_date)"}
REPLACE, MOVE, EXCHANGE = "replace", "move", "exchange"
# Inserts raise a partition's last block number and mutations its parts' versions; merges change neither.
_STATES = """
SELECT partition_id, max(max_block_number), maxIf(data_version, data_version > max_block_number)
FROM {parts}
WHERE active AND database = {{database:String}} AND table = {{table:String}}
GROUP BY partition_id
"""

State = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where a day goes.

    Attributes:
        table: customer_user_features.
        states: of its partitions before the day was built, by their ids.
        occupied: whether the day has rows there.
    """

    table: Table
    states: Mapping[str, State]
    occupied: bool

    @property
    def method(self) -> str:
        """How the day gets in: `replace`, `move` or `exchange`."""
        expressions = split_expressions(self.table.partition_key)
        if len(expressions) == 1 and expressions[0] in DAILY:
            return REPLACE
        return EXCHANGE if self.occupied else MOVE


def require_target(client: Client) -> Table:
    """The description of customer_user_features.

    Raises:
        ConfigError: it has no partitions that could be swapped.
    """
    table = describe(client, USER_FEATURES)
    if table is None or not table.engine.endswith("MergeTree"):
        raise ConfigError(
            f"{USER_FEATURES} has no partitions that could be swapped in",
            found=table.engine if table else "no such table",
            allowed="an engine of the MergeTree family",
            next_step="`raypipe migrate` creates the table where it is missing",
        )
    return table


def states(client: Client, table: str) -> dict[str, State]:
    """What tells that a partition was written to, by the partition's id."""
    sql = _STATES.format(parts=client.topology.system("parts"))
    rows = client.rows(sql, {"database": client.endpoint.database, "table": table})
    return {str(partition): (int(block), int(version)) for partition, block, version in rows}


@contextmanager
def scratch(client: Client, name: str, table: Table) -> Iterator[str]:
    """An empty table like the target, dropped at the end whatever happened; only a killed process leaves it."""
    client.run(client.topology.drop(name))
    client.run(client.topology.twin(name, table.name, table.engine_full))
    try:
        yield name
    finally:
        # Where dropping fails, the error that led here says more; `raypipe doctor --clean` drops it later.
        with suppress(RaypipeError):
            client.run(client.topology.drop(name))


def put(client: Client, place: Place, twin: str, day: date, still_allowed: Callable[[], None]) -> None:
    """Swaps a filled twin's day in.

    Args:
        client: the ClickHouse.
        place: where the day goes, as it was before the twin was filled.
        twin: a table like the target with the rows of the day and no others.
        day: the day.
        still_allowed: asked right before the swap; raises when another process has taken over.

    Raises:
        DataError: the day falls into several partitions, which cannot be swapped at once.
        Busy: somebody wrote to the partition meanwhile; nothing was changed.
    """
    partition = _only_partition(client, place.table, twin)
    if place.method != EXCHANGE:
        _swap(client, place, place.method, twin, partition, still_allowed)
        return
    with scratch(client, twin.replace("raypipe_twin_", "raypipe_twin_whole_", 1), place.table) as whole:
        attach, settings = client.topology.attach(whole, place.table.name, partition)
        client.run(attach, settings=settings)
        delete, settings = client.topology.delete(whole, "feature_date = {date:Date}")
        client.run(delete, {"date": day}, settings)
        for move, settings in client.topology.move(whole, twin, partition):
            client.run(move, settings=settings)
        _require_the_same_neighbours(client, place.table.name, whole, partition, day)
        _swap(client, place, REPLACE, whole, partition, still_allowed)


def _swap(
    client: Client, place: Place, method: str, twin: str, partition: str, still_allowed: Callable[[], None]
) -> None:
    still_allowed()
    if states(client, place.table.name).get(partition) != place.states.get(partition):
        raise Busy(
            f"{place.table.name} was written to while a day of it was built; nothing was changed",
            found=f"partition {partition} is not what it was",
            allowed="one writer at a time",
            next_step="repeat the command once the other writer has finished",
        )
    swap = client.topology.replace if method == REPLACE else client.topology.move
    for sql, settings in swap(place.table.name, twin, partition):
        client.run(sql, settings=settings)


def _only_partition(client: Client, table: Table, twin: str) -> str:
    found = list(states(client, twin))
    if len(found) != 1:
        raise DataError(
            f"A day of {table.name} falls into several of its partitions, which cannot be swapped in at once",
            found=f"{len(found)} partitions of {table.partition_key or 'no key'}",
            allowed="a partition key of feature_date alone, such as feature_date or toYYYYMM(feature_date)",
            next_step="compute the days into a table of raypipe's own DDL",
        )
    return found[0]


def _require_the_same_neighbours(client: Client, table: str, whole: str, partition: str, day: date) -> None:
    """Refuses an exchange that would cost another day a row."""
    others = statement("other_days")
    before, after = (
        client.rows(others.render(features=client.topology.everywhere(name)), {"date": day, "partition": partition})
        for name in (table, whole)
    )
    if before != after:
        raise DataError(
            f"{table} cannot be changed by partition: the other days of {day} would not stay as they are",
            found=f"{sum(rows for _, rows in after)} rows",
            allowed=f"{sum(rows for _, rows in before)} rows",
            next_step="repeat the command; nothing was changed",
        )
