"""Swap a finished day into customer_user_features, in one step that readers see whole or not at all.

Where the table is partitioned by day, the twin's partition replaces the table's. In a table with larger partitions, a
new day is moved in, which touches nothing else. An existing day is exchanged together with the rest of its partition:
a second twin links that partition's parts, drops the old day, gets the new day, and replaces the partition.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date

from raypipe.clickhouse import mutations, partitions, swaps, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.partitions import States
from raypipe.clickhouse.row_policies import require_visible
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table, split_expressions
from raypipe.errors import Busy, DataError, RaypipeError
from raypipe.features.sources import PIPELINE, statement

# Partition keys with exactly one day per partition.
DAILY = {"feature_date", "toYYYYMMDD(feature_date)", "toDate(feature_date)"}
REPLACE, MOVE, EXCHANGE = "replace", "move", "exchange"


@dataclass(frozen=True)
class Place:
    """The place of a day in customer_user_features; on a cluster, in the table of a shard.

    Attributes:
        client: the connection to the server of the table.
        states: the state of each partition before the day was built, by partition id.
        occupied: whether the table has rows of the day.
    """

    client: Client
    table: Table
    states: States
    occupied: bool

    @property
    def method(self) -> str:
        """Return the way to swap the day in: `replace`, `move` or `exchange`."""
        if is_daily(self.table):
            return REPLACE
        return EXCHANGE if self.occupied else MOVE


@dataclass
class Swapping:
    """A mark of days that are new on some shards of a cluster, and old on others."""

    is_half: bool = False


def is_daily(table: Table) -> bool:
    """Return whether each partition of the table holds one day."""
    expressions = split_expressions(table.partition_key)
    return len(expressions) == 1 and expressions[0] in DAILY


@contextmanager
def scratch(client: Client, name: str, table: Table) -> Iterator[str]:
    """Yield an empty table like the target, and drop it at the end; only a killed process leaves it."""
    twins.create(client, name, table.name, table, PIPELINE)
    try:
        yield name
    finally:
        # A failure to drop must not hide an earlier error; `raypipe doctor --clean` drops the table later.
        with suppress(RaypipeError):
            client.run(client.topology.drop(name))


def put_all(
    places: Sequence[Place], twin: str, day: date, require_lock: Callable[[], None], swapping: Swapping
) -> None:
    """Swap the day's rows in on every shard; see `put`.

    Args:
        swapping: says after an error whether some shards have the new rows and others the old.
    """
    for place in places:
        swapping.is_half = len(places) > 1
        put(place, twin, day, require_lock)
    swapping.is_half = False


def put(place: Place, twin: str, day: date, require_lock: Callable[[], None]) -> None:
    """Swap a filled twin's day in.

    Args:
        place: the day's place, as it was before the twin was filled.
        twin: a table like the target with the rows of the day and no others; on a cluster it may be empty.
        require_lock: called right before the swap; raises when another process has taken over.

    Raises:
        DataError: the day falls into several partitions, which cannot be swapped at once.
        Busy: another writer changed the partition meanwhile; nothing was changed.
        GateRefused: the partition has rows that the user may not see; nothing was changed.
    """
    client = place.client
    if not client.value(f"SELECT count() FROM {identifier(twin)}"):
        require_lock()
        mutations.delete(client, place.table.name, "feature_date = {date:Date}", {"date": day})
        return
    partition = twins.only_partition(client, twin, place.table)
    if place.method != EXCHANGE:
        _swap(client, place, place.method, twin, partition, require_lock)
        return
    with scratch(client, twin.replace("raypipe_twin_", "raypipe_twin_whole_", 1), place.table) as whole:
        swaps.link(client, whole, place.table.name, partition)
        mutations.delete(client, whole, "feature_date = {date:Date}", {"date": day})
        swaps.move(client, whole, twin, partition)
        _require_the_same_neighbours(client, place.table.name, whole, partition, day)
        _swap(client, place, REPLACE, whole, partition, require_lock)


def _swap(
    client: Client, place: Place, method: str, twin: str, partition: str, require_lock: Callable[[], None]
) -> None:
    require_lock()
    now = partitions.states(client, place.table.name)
    if partitions.is_changed(place.states.get(partition), now.get(partition)):
        raise Busy(
            f"{place.table.name} was written to while one of its days was built; nothing was changed",
            found=f"partition {partition} has changed",
            allowed="one writer at a time",
            next_step="repeat the command when the other writer has finished",
        )
    if method == REPLACE:
        require_visible(client, place.table.name, partition)
    swap = swaps.replace if method == REPLACE else swaps.move
    swap(client, place.table.name, twin, partition)


def _require_the_same_neighbours(client: Client, table: str, whole: str, partition: str, day: date) -> None:
    """Refuse an exchange that would lose a row of another day."""
    others = statement("other_days")
    before, after = (
        client.rows(others.render(features=identifier(name)), {"date": day, "partition": partition})
        for name in (table, whole)
    )
    if before != after:
        raise DataError(
            f"{table} cannot be changed by partition: other days in the partition of {day} would change",
            found=f"{sum(rows for _, rows in after)} rows",
            allowed=f"{sum(rows for _, rows in before)} rows",
            next_step="repeat the command; nothing was changed",
        )
