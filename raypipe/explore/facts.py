"""The content of a profile: `asdict` of a DatabaseProfile is the document of `raypipe explore --json`."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Sample:
    """The sampled rows behind a table's column figures.

    Attributes:
        method: `whole`, `granules`, `first rows` or `none`.
        share: of the table's rows; None if their number is unknown.
        about: a description in words, with the consequences for the figures.
    """

    method: str
    rows: int
    share: float | None
    about: str


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width from low to high, and outside; times are in seconds or days."""

    low: float
    high: float
    counts: tuple[int, ...]
    below: int
    above: int


@dataclass(frozen=True)
class Value:
    """A value, cut after 200 characters, and its number of rows in the sample."""

    value: str
    rows: int


@dataclass(frozen=True)
class ColumnProfile:
    """A column, judged by the table's sample.

    Attributes:
        kind: number, flag, text, time, list or other.
        default_kind: '', DEFAULT, MATERIALIZED or ALIAS.
        bytes: compressed size in the whole table.
        nulls: rows that are NULL.
        sentinel: the value that may mean missing, such as `0`; '' if the type has none.
        sentinels: rows with that value.
        not_finite: rows that are NaN or infinite.
        distinct: different values, estimated to about 1 %; None if they cannot be counted.
        low, high: the extremes: of times without the sentinel, of texts the lengths in bytes, of lists in items.
        mean, deviation: of finite numbers; of texts and lists of their lengths.
        quantiles: 1, 25, 50, 75 and 99 % of finite numbers, estimated.
        values: the ten most frequent, if there are at most 10,000 different values.
        error: the reason why figures are missing.
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
    """Columns that might identify a row, and the evidence in the data.

    Attributes:
        keys: the different keys examined.
        repeated: keys with more than one row.
        rows: the rows of the keys examined.
        unique: whether every key examined has a single row.
        one_in: every n-th key was examined, with all its rows; 1 for all.
        whole: whether the whole table was searched, not only its sample.
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
    """Pearson's correlations of numeric columns as a square matrix; None for a constant column."""

    columns: tuple[str, ...]
    matrix: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class LabelBalance:
    """A column of zeros and ones, and the share of ones among the rows that are not NULL."""

    column: str
    rows: int
    ones: int
    share: float


@dataclass(frozen=True)
class Hazard:
    """A property that misleads unsuspecting readers of the table."""

    hazard: str
    columns: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Failure:
    """A question without an answer, and the reason."""

    what: str
    error: str


@dataclass(frozen=True)
class Newest:
    """The time column with the newest value that is not after the report."""

    column: str
    value: str


@dataclass(frozen=True)
class TableProfile:
    """A table, a view or a dictionary; unknown figures are None."""

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
    columns: tuple[ColumnProfile, ...] = ()
    keys: tuple[Key, ...] = ()
    correlations: Correlations | None = None
    targets: tuple[LabelBalance, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    errors: tuple[Failure, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Relation:
    """A column that seems to refer to rows of another table, and the evidence in the data.

    Attributes:
        values: the different values looked up, without NULL and the sentinel.
        known: those that the parent has.
        rows: the rows of the sample with these values.
        known_rows: those whose value the parent has.
        coverage: known divided by values; None if no value could be looked up.
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
    """The bounds of the work.

    Attributes:
        sample_rows: a larger table is judged by about this number of rows.
        sample_bytes: a larger table, uncompressed, is judged by rows of about this size.
        columns_per_query: columns of a large table that one query aggregates.
        table_seconds: the time for a table; its remaining questions are dropped.
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
class DatabaseProfile:
    """The profile of a database."""

    database: str
    server: str
    taken_at: datetime
    limits: Limits
    tables: tuple[TableProfile, ...]
    relations: tuple[Relation, ...] = ()
    errors: tuple[Failure, ...] = ()
    seconds: float = 0.0
