"""Portions: the rows of one attempt at a slice in the shape of a target.

A chunk of a direct run gets its target's shape on its way in: the publish statement reads it from the request. So
publishing links parts into the twin and copies no rows. A portion belongs to one attempt, and only attempts whose
receipts count are linked: an actor of a dead attempt writes where nobody reads.
"""

from collections.abc import Collection, Sequence

from raypipe.clickhouse import swaps, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import Table, describe_all
from raypipe.score.manifest import Manifest, PublishTarget

# A slice and the number of an attempt at it.
Attempt = tuple[int, int]

PORTION = "^raypipe_portion_.*_s[0-9]+_a[0-9]+$"
# A portion must remember its chunks as long as an insert may be repeated; a slice has a few.
REMEMBERED_CHUNKS = 1000
# Counted in one statement; the server limits the length of a statement.
COUNTED_AT_ONCE = 200


def named(manifest: Manifest, target: PublishTarget, piece: int, attempt: int) -> str:
    """Return the name of the portion of a target that an attempt at a slice fills."""
    return f"raypipe_portion_{target.table.replace('.', '_')}_{manifest.run_id}_s{piece}_a{attempt}"


def create(client: Client, manifest: Manifest, target: PublishTarget, table: Table, name: str) -> None:
    """Create the portion of an attempt; its comment is the pipeline, as a twin's.

    Args:
        table: the target's description.
    """
    settings = {"non_replicated_deduplication_window": REMEMBERED_CHUNKS, **twins.ONE_FILE, **twins.UNMERGED}
    client.run(client.topology.twin(name, target.table, table.engine_full, manifest.pipeline, settings))


def counted(client: Client, manifest: Manifest) -> dict[Attempt, tuple[int, ...]]:
    """Count the rows of each target's portion by attempt; none in a portion that its target no longer resembles."""
    names = _standing(client, manifest.pipeline, manifest.run_id) if manifest.direct else []
    rows = _rows(client, manifest, names)
    return {
        attempt: tuple(rows.get(named(manifest, target, *attempt), 0) for target in manifest.targets)
        for attempt in map(_attempt, names)
    }


def _rows(client: Client, manifest: Manifest, names: Sequence[str]) -> dict[str, int]:
    """Count the rows of those portions that can be linked into a twin of their target."""
    if not names:
        return {}
    tables = describe_all(client, names=names)
    usable = []
    for target in manifest.targets:
        like = _structure(twins.require_swappable(client, target.table))
        own = {named(manifest, target, *_attempt(name)) for name in names}
        usable += [name for name in own & tables.keys() if _structure(tables[name]) == like]
    counts: dict[str, int] = {}
    for first in range(0, len(usable), COUNTED_AT_ONCE):
        selects = [
            f"SELECT {literal(name)}, count() FROM {identifier(name)}"
            for name in usable[first : first + COUNTED_AT_ONCE]
        ]
        counts |= {str(name): int(rows) for name, rows in client.rows(" UNION ALL ".join(selects))}
    return counts


def _structure(table: Table) -> tuple[object, ...]:
    return table.columns, table.engine, table.partition_key, table.sorting_key


def _attempt(name: str) -> Attempt:
    piece, _, attempt = name.rpartition("_s")[2].partition("_a")
    return int(piece), int(attempt)


def _standing(client: Client, pipeline: str, run_id: str) -> list[str]:
    names = twins.of_pipeline(client, pipeline, PORTION)
    return [name for name in names if name.rpartition("_s")[0].endswith(f"_{run_id}")]


def link(client: Client, twin: str, manifest: Manifest, target: PublishTarget, of: Collection[Attempt]) -> None:
    """Link the rows of a target's portions into its twin; the portions keep them for a resume.

    Args:
        of: the attempts that count and have rows in their portions.
    """
    for piece, attempt in sorted(of):
        swaps.link_all(client, twin, named(manifest, target, piece, attempt))


def drop_others(client: Client, manifest: Manifest, kept: Collection[Attempt]) -> None:
    """Drop the portions of the run's attempts that do not count."""
    for name in _standing(client, manifest.pipeline, manifest.run_id):
        if _attempt(name) not in kept:
            client.run(client.topology.drop(name))


def drop_of_run(client: Client, pipeline: str, run_id: str) -> None:
    """Drop the portions of a run, of every attempt."""
    for name in _standing(client, pipeline, run_id):
        client.run(client.topology.drop(name))
