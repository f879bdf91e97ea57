"""Check a population against the `expect` of its config, with aggregates of the query that counts it anyway."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

from raypipe.artifact.contract import Contract, Types
from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.statements import identifier, literal
from raypipe.config.expect import ColumnExpectation, Expect
from raypipe.config.features import Feature
from raypipe.data.days import today
from raypipe.errors import ConfigError, GateRefused

log = logging.getLogger(__name__)

TABLE = "raypipe_checks"
# Not an expectation: the rows with a category that the fit did not have.
UNSEEN = "unseen"
OK, WARNING, REFUSED, NOT_CHECKED = "ok", "warning", "refused", "not_checked"
_NUMBERS = ("Int", "UInt", "Float", "Decimal", "Bool")
_USUAL = """
SELECT argMax(source_rows, sequence)
FROM raypipe_runs FINAL
WHERE pipeline = {pipeline:String} AND status = 'PUBLISHED' AND date < {date:Date}
GROUP BY date
ORDER BY date DESC
LIMIT {nights:UInt32}
"""


@dataclass(frozen=True)
class Check:
    """The result of one expectation."""

    check: str
    column: str
    found: str
    allowed: str
    status: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.check}{' of ' * bool(self.column)}{self.column}: {self.found} (allowed: {self.allowed})"


@dataclass(frozen=True)
class Count:
    """An aggregate of the population: a number of rows, or the newest time as seconds since 1970."""

    sql: str
    newest: bool = False

    def together(self, values: Sequence[Any]) -> int:
        """Return the value over all shards."""
        return max(map(int, values)) if self.newest else sum(map(int, values))


def counts(
    expect: Expect, contract: Contract, declared: Sequence[Feature], types: Types
) -> dict[tuple[str, str], Count]:
    """Return the aggregates that the expectations and the shares of unseen categories need, by check and column.

    Raises:
        ConfigError: an expectation names a column that the query lacks, or asks for numbers of a text.
    """
    _require(expect, types)
    found = {}
    for name, item in expect.columns.items():
        known, number = _known(name, types[name]), f"toFloat64(assumeNotNull({identifier(name)}))"
        found["missing", name] = Count(f"countIf(NOT ({known}))")
        if item.zeros is not None:
            found["zeros", name] = Count(f"countIf({known} AND {number} = 0)")
        if item.range:
            low, high = map(literal, item.range)
            found["range", name] = Count(f"countIf({known} AND NOT ({number} >= {low} AND {number} <= {high}))")
        if item.allowed:
            found["allowed", name] = Count(_others(name, types[name], item.allowed))
    for name in expect.unique:
        found["unique", name] = Count(f"count({identifier(name)}) - uniqExact({identifier(name)})")
    if expect.freshness and expect.freshness.column:
        name = expect.freshness.column
        found["freshness", name] = Count(f"ifNull(max(toUnixTimestamp(toDateTime({identifier(name)}))), 0)", True)
    absent = {feature.name: feature.missing for feature in declared}
    for feature in contract.features:
        if feature.kind == "category":
            words = [*feature.vocabulary, *map(str, absent.get(feature.name, ()))]
            found[UNSEEN, feature.name] = Count(_others(feature.name, types[feature.name], words))
    return found


def _others(name: str, kind: str, words: Sequence[str]) -> str:
    """Return the number of values other than the words; NULL is in no set, and empty text counts as missing."""
    # A set is looked up once per word of a LowCardinality column; `has` costs ten times as much.
    column = identifier(name) if _bare(kind).startswith("String") else f"toString({identifier(name)})"
    return f"countIf({column} NOT IN ({', '.join(map(literal, ['', *words]))}))"


def _known(name: str, kind: str) -> str:
    column, bare = identifier(name), _bare(kind)
    tests = [f"isNotNull({column})"] if "Nullable(" in kind else []
    value = f"assumeNotNull({column})" if tests else column
    if bare.startswith(("String", "FixedString")):
        tests.append(f"{value} != ''")
    if bare.startswith("Float"):
        tests.append(f"NOT isNaN({value})")
    return " AND ".join(tests) or "1"


def _bare(kind: str) -> str:
    return kind.removeprefix("LowCardinality(").removeprefix("Nullable(")


def _require(expect: Expect, types: Types) -> None:
    unknown = [name for name in expect.names if name not in types]
    texts = [
        name
        for name, item in expect.columns.items()
        if (item.zeros is not None or item.range) and name in types and not _bare(types[name]).startswith(_NUMBERS)
    ]
    fresh = expect.freshness.column if expect.freshness else None
    timeless = [fresh] if fresh and fresh in types and not _bare(types[fresh]).startswith("Date") else []
    for wrong, problem, allowed in (
        (unknown, "expect names columns that features.sql does not yield", ", ".join(types)),
        (texts, "expect asks for the zeros or the range of columns that are no numbers", "columns with numbers"),
        (timeless, "expect.freshness names a column without dates", "a Date or DateTime column"),
    ):
        if wrong:
            next_step = "correct `expect` in the pipeline's config, or add the column to features.sql"
            raise ConfigError(problem, found=", ".join(map(str, wrong)), allowed=allowed, next_step=next_step)


@dataclass(frozen=True)
class Subject:
    """The counted population.

    Attributes:
        is_newest: whether the run takes the newest snapshot, whatever its date.
        counted: the aggregates by check and column.
    """

    pipeline: str
    date: date
    timezone: str
    is_newest: bool
    rows: int
    counted: dict[tuple[str, str], int]


def checks(client: Client, expect: Expect, subject: Subject) -> list[Check]:
    """Return the result of every expectation."""
    results = [*_freshness(expect, subject), *_volume(client, expect, subject)]
    for name in expect.unique:
        repeated = subject.counted["unique", name]
        results.append(Check("unique", name, f"{repeated} repeated values", "none", REFUSED if repeated else OK))
    for name, item in expect.columns.items():
        results += _column(name, item, subject)
    return results


def _freshness(expect: Expect, subject: Subject) -> Iterator[Check]:
    fresh = expect.freshness
    if fresh is None:
        return
    if fresh.snapshot_days is not None:
        age, allowed = (today(subject.timezone) - subject.date).days, f"at most {fresh.snapshot_days} days old"
        if subject.is_newest:
            status = _status(age <= fresh.snapshot_days, fresh.fail)
            yield Check("freshness", "", f"the newest snapshot is {age} days old", allowed, status)
        else:
            yield Check("freshness", "", f"{subject.date}", allowed, NOT_CHECKED, "the run names its date")
    if fresh.column is not None and fresh.column_days is not None:
        seconds = subject.counted["freshness", fresh.column]
        newest = datetime.fromtimestamp(seconds, UTC).date()
        oldest = subject.date - timedelta(days=fresh.column_days)
        found = f"newest {newest}" if seconds > 0 else "no date"
        yield Check("freshness", fresh.column, found, f"{oldest} or later", _status(newest >= oldest, fresh.fail))


def _volume(client: Client, expect: Expect, subject: Subject) -> Iterator[Check]:
    volume = expect.volume
    if volume is None:
        return
    bound = {"pipeline": subject.pipeline, "date": subject.date, "nights": volume.nights}
    earlier = [int(rows) for (rows,) in client.rows(_USUAL, bound)]
    if not earlier:
        reason = "there is no earlier accepted run to compare with"
        yield Check("volume", "", f"{subject.rows} rows", "as usual", NOT_CHECKED, reason)
        return
    usual = median(earlier)
    least, most = volume.least * usual, volume.most * usual
    status = _status(least <= subject.rows <= most, volume.fail)
    allowed = f"{least:.0f} to {most:.0f}; the usual number is {usual:.0f}, of {len(earlier)} earlier runs"
    yield Check("volume", "", f"{subject.rows} rows", allowed, status)


def _column(name: str, item: ColumnExpectation, subject: Subject) -> Iterator[Check]:
    missing = subject.counted["missing", name]
    known = subject.rows - missing
    if item.missing is not None:
        yield _share("missing", name, missing, subject.rows, item.missing, item)
    if item.zeros is not None:
        yield _share("zeros", name, subject.counted["zeros", name], known, item.zeros, item)
    for check, wanted in (("range", item.range), ("allowed", item.allowed)):
        if wanted:
            outside = subject.counted[check, name]
            words = f"{wanted[0]:g} to {wanted[1]:g}" if check == "range" else ", ".join(map(str, wanted))
            yield _share(check, name, outside, known, item.outside, item, f"outside of {words}")


def _share(
    check: str, name: str, count: int, rows: int, most: float, item: ColumnExpectation, words: str = ""
) -> Check:
    what = words or check
    if rows == 0:
        return Check(check, name, "no known value", f"at most {most:.4g} {what}", NOT_CHECKED, "all rows are missing")
    share = count / rows
    found = f"{share:.4g} {what} ({count} of {rows} rows)"
    return Check(check, name, found, f"at most {most:.4g}", _status(share <= most, item.fail))


def _status(is_fine: bool, fail: str) -> str:
    return OK if is_fine else WARNING if fail == "warn" else REFUSED


def write(client: Client, subject: Subject, run_id: str, results: Sequence[Check]) -> None:
    """Write the results of a plan that a run follows, or that is refused."""
    now = datetime.now(UTC)
    shared = {"pipeline": subject.pipeline, "date": subject.date, "run_id": run_id, "checked_at": now}
    rows = [{**shared, **vars(result)} for result in results]
    if rows:
        client.insert_rows(TABLE, rows, token=content_token(run_id, TABLE, now.isoformat()))


def judge(subject: Subject, results: Sequence[Check]) -> None:
    """Warn of failed checks.

    Raises:
        GateRefused: a failed check refuses the run; all of them are named.
    """
    for result in results:
        if result.status == WARNING:
            log.warning("the input of %s on %s is not as expected: %s", subject.pipeline, subject.date, result)
    refused = [result for result in results if result.status == REFUSED]
    if refused:
        raise GateRefused(
            f"The input of {subject.pipeline} on {subject.date} is not as expected; nothing was scored",
            found="; ".join(map(str, refused)),
            next_step="correct the source, or `expect` in the pipeline's config; `fail: warn` there only warns",
        )
