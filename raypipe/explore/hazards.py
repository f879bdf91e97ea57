"""Find what misleads readers of a table: engines that change rows, and columns without information."""

import re
from collections.abc import Iterator, Sequence

from raypipe.clickhouse.tables import split_expressions
from raypipe.explore.facts import ColumnProfile, Hazard, Key, TableProfile
from raypipe.explore.kinds import FLAG, NUMBER
from raypipe.explore.names import identifies, words

# A column with such a word in its name is not a quantity that adds up over rows …
STATISTICS = ("avg", "average", "mean", "median", "mode", "min", "max", "std", "stddev", "variance", "quantile")
SHARES = ("rate", "ratio", "share", "pct", "percent", "percentage", "probability", "confidence", "unique", "distinct")
PROPERTIES = ("score", "rank", "index", "depth", "age", "position", "order", "version", "level", "is", "has", "price")
MEASUREMENTS = ("speed", "duration", "latency", "temperature", "latitude", "longitude", "lat", "lon")
MOMENTS = ("hour", "minute", "weekday", "day", "month", "year")
NOT_ADDITIVE = frozenset((*STATISTICS, *SHARES, *PROPERTIES, *MEASUREMENTS, *MOMENTS))
# … unless it begins or ends with such a word: total_duration_sec and order_count add up.
ADDITIVE = frozenset({"total", "sum", "count", "num", "n"})
# These may follow an engine's arguments, each with parentheses of its own.
_CLAUSE = re.compile(r" (?:PARTITION BY|PRIMARY KEY|ORDER BY|SAMPLE BY|TTL|SETTINGS) ")


def find(
    table: TableProfile, engine_full: str, columns: Sequence[ColumnProfile], keys: Sequence[Key], rows: int
) -> list[Hazard]:
    """Return the hazards of a table, the gravest first; `rows` is the number of rows read."""
    return [*_summing(table, engine_full, columns), *_repeated(table.engine, keys), *_empty(columns, rows)]


def _summing(table: TableProfile, engine_full: str, columns: Sequence[ColumnProfile]) -> Iterator[Hazard]:
    engine = table.engine
    if not engine.endswith("SummingMergeTree"):
        return
    keys = {expression.strip("`") for expression in (*table.sorting_key, *split_expressions(table.partition_key))}
    listed = summed_columns(engine_full)
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
            f"{engine} adds these up like counts when it merges rows of a key, so an average becomes a sum. "
            "Group by the key when reading, and weight averages by their counts",
        )
    kept = tuple(column.column for column in outside if column.column not in summed and identifies(column.column))
    if kept:
        message = f"{engine} keeps an arbitrary value of the merged rows: these columns identify no row"
        yield Hazard("arbitrary values", kept, message)


def summed_columns(engine_full: str) -> frozenset[str]:
    """Return the columns in a SummingMergeTree's arguments; empty if it sums all numbers."""
    head = _CLAUSE.split(engine_full, maxsplit=1)[0]
    if "(" not in head:
        return frozenset()
    arguments = split_expressions(head[head.index("(") + 1 : head.rindex(")")])
    # A replicated engine names its path and replica first.
    named = [argument for argument in arguments if not argument.startswith("'")]
    return frozenset(name.strip("`") for argument in named for name in split_expressions(argument))


def adds_up(name: str) -> bool:
    """Return whether the sum over rows of a column with this name makes sense."""
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
        share = f"{key.repeated:,} of {key.keys:,} keys examined have more than one row"
        if any(word in engine for word in ("Replacing", "Collapsing", "Coalescing")):
            message = f"{share}: read with FINAL, or a JOIN on the key repeats rows"
        elif "Summing" in engine or "Aggregating" in engine:
            message = f"{share}: group by the key when reading"
        else:
            continue
        yield Hazard("repeated keys", key.columns, message)


def _empty(columns: Sequence[ColumnProfile], rows: int) -> Iterator[Hazard]:
    never = tuple(column.column for column in columns if rows and _filled(column, rows) == 0)
    if never:
        yield Hazard("never filled", never, "every row read is NULL or has the type's default")
    constant = tuple(column.column for column in columns if column.distinct == 1 and column.column not in never)
    if constant and rows > 1:
        yield Hazard("constant", constant, "all rows read that are not NULL have the same value")


def _filled(column: ColumnProfile, rows: int) -> int:
    """Return the number of rows with a value that does not mean missing."""
    return rows if column.nulls is None else rows - column.nulls - (column.sentinels or 0)
