"""Which rows of a table are read, and how to say so.

A table of MergeTree's family that is too large is sampled by runs of rows that lie side by side: every k-th run of
each part, from a start that the part's name decides. Every row is as likely as any other to be among them, and only
their granules are read from disk. Few tables have a SAMPLE key; LIMIT alone would read the oldest partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raypipe.clickhouse.statements import quoted

# A run is as long as a granule, so that no granule is read for a part of it; a small sample has shorter runs, as a
# handful of long ones would say little, and a single one might not be met at all.
RUN_ROWS = 8192
FEWEST_RUNS = 64
# Reading takes the messages away, waits for new ones, or gives nothing back.
NOT_READ = {
    "AzureQueue": "reading would take its files off the queue",
    "FileLog": "reading would take its lines off the log",
    "Kafka": "reading would take its messages off the topic",
    "MaterializedView": "its rows are those of the table that it writes to",
    "NATS": "reading would take its messages off the subject",
    "Null": "it keeps no rows",
    "RabbitMQ": "reading would take its messages off the queue",
    "S3Queue": "reading would take its files off the queue",
    "Set": "it can only be looked up in",
    "WindowView": "reading would wait for a window to close",
}


@dataclass(frozen=True)
class Source:
    """What is read of a table.

    Attributes:
        table: database and name, quoted.
        runs: a predicate that chooses runs of rows; '' for all.
        first: only so many rows, whichever come first; 0 for all.
    """

    table: str
    runs: str = ""
    first: int = 0

    def relation(self, columns: Sequence[str]) -> str:
        """A sub-query with these columns as v0, v1 …; names of the table can't collide with a query's own there."""
        return self.of([f"t.{quoted(name)}" for name in columns])

    def of(self, expressions: Sequence[str]) -> str:
        """The same for expressions over the table's columns."""
        chosen = ", ".join(f"{expression} AS v{number}" for number, expression in enumerate(expressions))
        runs = f" PREWHERE {self.runs}" if self.runs else ""
        first = f" LIMIT {self.first}" if self.first else ""
        return f"(SELECT {chosen} FROM {self.table} AS t{runs}{first})"


@dataclass(frozen=True)
class Plan:
    """How a table is to be read.

    Attributes:
        source: the rows its columns are judged by.
        whole: all its rows where they can be read in bounded time, else the same as `source`.
        method: as in `facts.Sample`.
    """

    source: Source
    whole: Source
    method: str


def plan(database: str, table: str, engine: str, rows: int | None, most: int) -> Plan:
    """How to read a table of so many rows, None for unknown, with a sample of about `most` when it has more."""
    name = f"{quoted(database)}.{quoted(table)}"
    everything = Source(name)
    if rows is not None and rows <= most:
        return Plan(everything, everything, "whole")
    if rows is not None and engine.endswith("MergeTree"):
        every = -(-rows // most)
        run = max(1, min(RUN_ROWS, most // FEWEST_RUNS))
        runs = f"(intDiv(t._part_offset, {run}) + cityHash64(t._part)) % {every} = 0"
        return Plan(Source(name, runs=runs), everything, "granules")
    first = Source(name, first=most)
    return Plan(first, first, "first rows")


def about(method: str, read: int, rows: int | None) -> str:
    """The sample in words."""
    if method == "whole":
        return "every row"
    if method == "granules":
        return (
            f"{read:,} of {rows or 0:,} rows: every n-th run of neighbouring rows. Shares hold for the table "
            "within a sample's error, which is larger for what follows the sorting key; distinct values and the "
            "extremes of numbers are of the sample alone, those of times and the keys of the whole table"
        )
    total = "an unknown number of" if rows is None else f"{rows:,}"
    return f"the first {read:,} of {total} rows as the engine yields them: not a random sample, the rest may differ"
