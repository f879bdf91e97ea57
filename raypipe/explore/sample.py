"""Choose the rows of a table to read, and describe the choice.

A large table of MergeTree's family is sampled by runs of neighbouring rows: every k-th run of each part, from a
start that depends on the part's name. Every row is equally likely to be read, and only the granules of the runs are
read from disk. Few tables have a SAMPLE key; LIMIT alone would read the oldest partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raypipe.clickhouse.statements import quoted

# A run is as long as a granule, so that no granule is read in part. A small sample has shorter runs: a handful of
# long runs would tell little, and the sample might miss a single run.
RUN_ROWS = 8192
FEWEST_RUNS = 64
# Reading removes the messages, waits for new messages, or returns nothing.
NOT_READ = {
    "AzureQueue": "reading would take its files off the queue",
    "FileLog": "reading would take its lines off the log",
    "Kafka": "reading would take its messages off the topic",
    "MaterializedView": "its rows are in the table that it writes to",
    "NATS": "reading would take its messages off the subject",
    "Null": "it keeps no rows",
    "RabbitMQ": "reading would take its messages off the queue",
    "S3Queue": "reading would take its files off the queue",
    "Set": "it only answers IN",
    "WindowView": "reading would wait for a window to close",
}


@dataclass(frozen=True)
class RowSource:
    """The rows of a table to read.

    Attributes:
        table: database and name, quoted.
        runs: a predicate that chooses runs of rows; '' for all.
        first: the maximum number of rows, whichever come first; 0 for all.
    """

    table: str
    runs: str = ""
    first: int = 0

    def relation(self, columns: Sequence[str]) -> str:
        """Return a subquery with these columns as v0, v1 …, which collide with no name of the outer query."""
        return self.of([f"t.{quoted(name)}" for name in columns])

    def of(self, expressions: Sequence[str]) -> str:
        """Return a subquery like `relation`, with expressions over the table's columns."""
        chosen = ", ".join(f"{expression} AS v{number}" for number, expression in enumerate(expressions))
        runs = f" PREWHERE {self.runs}" if self.runs else ""
        first = f" LIMIT {self.first}" if self.first else ""
        return f"(SELECT {chosen} FROM {self.table} AS t{runs}{first})"


@dataclass(frozen=True)
class ReadPlan:
    """The plan for reading a table.

    Attributes:
        source: the rows that judge its columns.
        whole: all rows if they can be read in bounded time, else the same as `source`.
        method: as in `facts.Sample`.
    """

    source: RowSource
    whole: RowSource
    method: str


def plan(database: str, table: str, engine: str, rows: int | None, most: int) -> ReadPlan:
    """Plan the reading of a table; with more than `most` rows (None if unknown) it is sampled."""
    name = f"{quoted(database)}.{quoted(table)}"
    everything = RowSource(name)
    if rows is not None and rows <= most:
        return ReadPlan(everything, everything, "whole")
    if rows is not None and engine.endswith("MergeTree"):
        every = -(-rows // most)
        run = max(1, min(RUN_ROWS, most // FEWEST_RUNS))
        runs = f"(intDiv(t._part_offset, {run}) + cityHash64(t._part)) % {every} = 0"
        return ReadPlan(RowSource(name, runs=runs), everything, "granules")
    first = RowSource(name, first=most)
    return ReadPlan(first, first, "first rows")


def about(method: str, read: int, rows: int | None) -> str:
    """Describe the sample in words."""
    if method == "whole":
        return "every row"
    if method == "granules":
        return (
            f"{read:,} of {rows or 0:,} rows: every n-th run of neighbouring rows. Shares hold for the table "
            "within a sample's error, which is larger for columns that follow the sorting key. Distinct values and "
            "the extremes of numbers describe the sample; keys and the extremes of times describe the whole table"
        )
    total = "an unknown number of" if rows is None else f"{rows:,}"
    return f"the first {read:,} of {total} rows in the engine's order: not a random sample, the rest may differ"
