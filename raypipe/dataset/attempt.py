"""One attempt at a write task: a staging table of its own, filled chunk by chunk. Runs without Ray, too.

Ray repeats a task whose worker died, and may repeat a finished task whose result was lost. Attempts never share a
table, so the rows of an attempt without a receipt are dropped with its table, whenever they arrive.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from raypipe.clickhouse import twins
from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.inserts import in_halves
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import Table
from raypipe.dataset import columns

CHUNK_ROWS = 500_000
CHUNK_BYTES = 64 << 20
# By default, MergeTree remembers no insert, and an insert without an answer is sent again.
WINDOW = "non_replicated_deduplication_window"
REMEMBERED_INSERTS = 100


@dataclass(frozen=True)
class Receipt:
    """A task's report: its staging table, '' without rows, and the number of the rows there."""

    table: str
    rows: int


@dataclass(frozen=True)
class Staging:
    """The staging tables of a write, which an owner of its lock collects.

    Attributes:
        prefix: the beginning of their names.
        target: the description of the table that they are like.
        comment: names target and run.
    """

    prefix: str
    target: Table
    comment: str

    def create(self, table: str) -> str:
        """Return the statement that creates an empty staging table, with compact parts and a memory of its inserts."""
        engine, settings = self.target.engine_full, dict(self.target.settings)
        if settings:
            engine = engine.rpartition(" SETTINGS ")[0]
        settings |= {WINDOW: str(REMEMBERED_INSERTS), **{name: str(value) for name, value in twins.ONE_FILE.items()}}
        listed = ", ".join(
            f"{name} = {value if value.isdigit() else literal(value)}" for name, value in settings.items()
        )
        return (
            f"CREATE TABLE {identifier(table)} AS {identifier(self.target.name)} ENGINE = {engine}"
            f" SETTINGS {listed} COMMENT {literal(self.comment)}"
        )


def stage(client: Client, staging: Staging, blocks: Iterable[pa.Table]) -> Receipt:
    """Insert a task's rows into a staging table of this attempt.

    Raises:
        DataError: the rows do not fit into the target.
        ServerError: an insert failed for a reason that does not pass.
    """
    table, rows = "", 0

    def insert(chunk: pa.Table) -> None:
        nonlocal rows
        # The table belongs to this attempt, so the place of the rows in it identifies them.
        token = content_token(table, rows, chunk.num_rows)
        client.insert(table, chunk, token=token, columns=chunk.schema.names)
        rows += chunk.num_rows

    for chunk in _chunks(columns.fitted(block, staging.target) for block in blocks if block.num_rows):
        if not table:
            table = f"{staging.prefix}{secrets.token_hex(8)}"
            client.run(staging.create(table))
        in_halves(chunk, insert)
    return Receipt(table, rows)


def _chunks(blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of blocks in pieces that one insert can take; small blocks are joined."""
    waiting: list[pa.Table] = []
    for block in blocks:
        for piece in _pieces(block):
            if waiting and piece.schema != waiting[0].schema:
                yield pa.concat_tables(waiting)
                waiting = []
            waiting.append(piece)
            if sum(part.num_rows for part in waiting) >= CHUNK_ROWS or sum(p.nbytes for p in waiting) >= CHUNK_BYTES:
                yield pa.concat_tables(waiting)
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _pieces(block: pa.Table) -> Iterator[pa.Table]:
    size = max(1, min(CHUNK_ROWS, int(block.num_rows * CHUNK_BYTES / max(block.nbytes, 1))))
    for start in range(0, block.num_rows, size):
        yield block.slice(start, size)
