"""What misleads a reader of a table: engines that change rows behind one's back, and columns that say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from raypipe.clickhouse.tables import split_expressions
from raypipe.explore.facts import Column, Hazard, Key
from raypipe.explore.inventory import Stands
from raypipe.explore.kinds import FLAG, NUMBER
from raypipe.explore.names import identifies, words

# A column with one of these words in its name is not a quantity that adds up over rows …
STATISTICS = ("avg", "average", "mean", "median", "mode", "min", "max", "std", "stddev", "variance", "quantile")
SHARES = ("rate", "ratio", "share", "pct", "percent", "percentage", "probability", "confidence", "unique", "distinct")
PROPERTIES = ("score", "rank", "index", "depth", "age", "position", "order", "version", "level", "is", "has", "price")
MEASUREMENTS = ("speed", "duration", "latency", "temperature", "latitude", "longitude", "lat", "lon")
MOMENTS = ("hour", "minute", "weekday", "day", "month", "year")
NOT_ADDITIVE = frozenset((*STATISTICS, *SHARES, *PROPERTIES, *MEASUREMENTS, *MOMENTS))
# … unless it begins or ends with one of these: total_duration_sec and order_count add up.
ADDITIVE = frozenset({"total", "sum", "count", "num", "n"})
# What may follow an engine's arguments; each may have parentheses of its own.
_CLAUSE = re.compile(r" (?:PARTITION BY|PRIMARY KEY|ORDER BY|SAMPLE BY|TTL|SETTINGS) ")


def find(stands: Stands, columns: Sequence[Column], keys: Sequence[Key], rows: int) -> list[Hazard]:
    """The hazards of a table, the gravest first; `rows` were read for its columns."""
    return [*_summing(stands, columns), *_repeated(stands.engine, keys), *_empty(columns, rows)]


def _summing(stands: Stands, columns: Sequence[Column]) -> Iterator[Hazard]:
    engine = stands.engine
    if not engine.endswith("SummingMergeTree"):
        return
    keys = {expression.strip("`") for expression in (*stands.sorting_key, *split_expressions(stands.partition_key))}
    listed = summed_columns(stands.engine_full)
    outside = [column for column in columns if column.column not in keys and column.default_kind != "ALIAS"]
    summed = [
        column.column
        for column in outside
        if column.kind in (NUMBER, FLAG) and (column.column in listed if listed else column.kind == NUMBER)
    ]
    wrong = tuple(name for name in summed if not adds_up(name))
    if wrong:
        yield Hazard(
            "summed averages",
            wrong,
            f"{engine} adds these up like counts when it merges rows of a key: an average becomes a sum. "
            "Group by the key when reading, and weight averages by their counts",
        )
    kept = tuple(column.column for column in outside if column.column not in summed and identifies(column.column))
    if kept:
        yield Hazard(
            "arbitrary values",
            kept,
            f"{engine} keeps any one of the merged rows' values of these: they identify no row",
        )


def summed_columns(engine_full: str) -> frozenset[str]:
    """The columns that a SummingMergeTree's arguments name; empty where it sums all that are numbers."""
    head = _CLAUSE.split(engine_full, maxsplit=1)[0]
    if "(" not in head:
        return frozenset()
    arguments = split_expressions(head[head.index("(") + 1 : head.rindex(")")])
    # A replicated engine names its path and its replica first.
    named = [argument for argument in arguments if not argument.startswith("'")]
    return frozenset(name.strip("`") for argument in named for name in split_expressions(argument))


def adds_up(name: str) -> bool:
    """Whether a column of this name is a quantity of which the sum over rows makes sense."""
    own = words(name)
    if identifies(name):
        return False
    if ADDITIVE & {*own[:1], *own[-1:]}:
        return not {"avg", "average", "mean", *SHARES} & set(own)
    return not NOT_ADDITIVE & set(own)


def _repeated(engine: str, keys: Sequence[Key]) -> Iterator[Hazard]:
    for key in keys:
        if not key.sorting or not key.repeated:
            continue
        share = f"{key.repeated:,} of {key.keys:,} keys examined stand in more than one row"
        if any(word in engine for word in ("Replacing", "Collapsing", "Coalescing")):
            message = f"{share}: read FINAL, or a JOIN on the key doubles rows"
        elif "Summing" in engine or "Aggregating" in engine:
            message = f"{share}: group by the key when reading"
        else:
            continue
        yield Hazard("repeated keys", key.columns, message)


def _empty(columns: Sequence[Column], rows: int) -> Iterator[Hazard]:
    never = tuple(column.column for column in columns if rows and _filled(column, rows) == 0)
    if never:
        yield Hazard("never filled", never, "every row read is NULL or has the type's default")
    constant = tuple(column.column for column in columns if column.distinct == 1 and column.column not in never)
    if constant and rows > 1:
        yield Hazard("constant", constant, "every row read that is not NULL has the same value")


def _filled(column: Column, rows: int) -> int:
    """Rows with a value that does not stand for missing."""
    return rows if column.nulls is None else rows - column.nulls - (column.sentinels or 0)
