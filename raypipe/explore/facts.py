"""What a profile says; `asdict` of a Report is the document that `raypipe explore --json` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Sample:
    """Which rows of a table its columns were judged by.

    Attributes:
        method: `whole`, `granules`, `first rows` or `none`.
        rows: how many were read.
        share: of the table's rows; None where the table's number is unknown.
        about: the same in words, with what it means for the figures.
    """

    method: str
    rows: int
    share: float | None
    about: str


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width from low to high, and of what lies outside; times count in seconds or days."""

    low: float
    high: float
    counts: tuple[int, ...]
    below: int
    above: int


@dataclass(frozen=True)
class Value:
    """A value, cut after 200 characters, and the rows of the sample that have it."""

    value: str
    rows: int


@dataclass(frozen=True)
class Column:
    """A column, judged by the table's sample.

    Attributes:
        column: the name.
        type: as ClickHouse writes it.
        kind: number, flag, text, time, list or other.
        default_kind: '', DEFAULT, MATERIALIZED or ALIAS.
        bytes: compressed size in the whole table.
        nulls: rows that are NULL.
        sentinel: the value that may stand for missing, such as `0`; '' where the type has none.
        sentinels: rows that have it.
        not_finite: rows that are NaN or infinite.
        distinct: different values, estimated to about 1 %; None where they cannot be counted.
        low, high: the smallest and the largest value, of times without the sentinel; of texts the lengths in bytes, of
            lists in items.
        mean, deviation: of finite numbers; of texts and lists of their lengths.
        quantiles: 1, 25, 50, 75 and 99 % of finite numbers, estimated.
        histogram: of numbers and times.
        values: the ten most frequent, where there are at most 10,000 different ones.
        error: why there is less than there could be.
    """

    column: str
    type: str
    kind: str
    default_kind: str = ""
    bytes: int = 0
    nulls: int | None = None
    sentinel: str = ""
    sentinels: int | None = None
    not_finite: int | None = None
    distinct: int | None = None
    low: str | None = None
    high: str | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: tuple[float, ...] = ()
    histogram: Histogram | None = None
    values: tuple[Value, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Key:
    """Columns that might identify a row, and how far the data agrees.

    Attributes:
        columns: names or expressions.
        sorting: whether it is the table's sorting key.
        keys: the different keys examined.
        repeated: keys that more than one row has.
        rows: the rows of the keys examined.
        unique: whether no key examined has two rows.
        one_in: every n-th key was examined, with all its rows; 1 for all.
        whole: whether they were looked for in the whole table, not in its sample alone.
    """

    columns: tuple[str, ...]
    sorting: bool
    keys: int
    repeated: int
    rows: int
    unique: bool
    one_in: int
    whole: bool


@dataclass(frozen=True)
class Correlations:
    """Pearson's correlations of numeric columns: a square matrix in their order; None where a column is constant."""

    columns: tuple[str, ...]
    matrix: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Target:
    """A column of zeros and ones, and the share of ones among the rows that are not NULL."""

    column: str
    rows: int
    ones: int
    share: float


@dataclass(frozen=True)
class Hazard:
    """Something that misleads whoever reads the table unaware."""

    hazard: str
    columns: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Failure:
    """What could not be found out, and why."""

    what: str
    error: str


@dataclass(frozen=True)
class Newest:
    """The time column with the newest value that is not after the report."""

    column: str
    value: str


@dataclass(frozen=True)
class Table:
    """A table, a view or a dictionary; figures that nobody knows are None."""

    table: str
    engine: str
    comment: str
    rows: int | None
    bytes: int | None
    bytes_uncompressed: int | None
    parts: int | None
    written_at: datetime | None
    partition_key: str
    sorting_key: tuple[str, ...]
    sample: Sample
    newest: Newest | None = None
    columns: tuple[Column, ...] = ()
    keys: tuple[Key, ...] = ()
    correlations: Correlations | None = None
    targets: tuple[Target, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    errors: tuple[Failure, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Relation:
    """A column that seems to name rows of another table, and how far the data agrees.

    Attributes:
        table, column: where the reference stands.
        parent, parent_column: what it refers to.
        values: the different values looked up, without NULL and the sentinel.
        known: those that the parent has.
        rows: the rows of the sample that have these values.
        known_rows: those whose value the parent has.
        coverage: known of values; None where nothing could be looked up.
        error: why there is no answer.
    """

    table: str
    column: str
    parent: str
    parent_column: str
    values: int = 0
    known: int = 0
    rows: int = 0
    known_rows: int = 0
    coverage: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Limits:
    """What bounds the work.

    Attributes:
        sample_rows: a larger table is judged by about so many rows.
        sample_bytes: a table that is larger than this, uncompressed, is judged by rows of about that size.
        columns_per_query: columns of a large table that are aggregated at once.
        table_seconds: what a table may take in all; the rest of its questions is given up.
        query_seconds: max_execution_time of a query.
        query_bytes: max_memory_usage of a query.
    """

    sample_rows: int = 1_000_000
    sample_bytes: int = 1 << 30
    columns_per_query: int = 8
    table_seconds: int = 60
    query_seconds: int = 30
    query_bytes: int = 2 << 30


@dataclass(frozen=True)
class Report:
    """A database's profile."""

    database: str
    server: str
    taken_at: datetime
    limits: Limits
    tables: tuple[Table, ...]
    relations: tuple[Relation, ...] = ()
    errors: tuple[Failure, ...] = ()
    seconds: float = field(default=0.0)
