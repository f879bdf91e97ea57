"""What is read off a table's columns: how fresh it is, and which of them might be labels."""

from __future__ import annotations

from datetime import UTC, datetime

from raypipe.explore.facts import ColumnProfile, LabelBalance, Newest, Value
from raypipe.explore.tables import newest, targets

TAKEN_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def moment(name: str, high: str | None, kind: str = "time") -> ColumnProfile:
    return ColumnProfile(name, "DateTime", kind, high=high)


def flags(type_: str, kind: str, *values: tuple[str, int]) -> ColumnProfile:
    return ColumnProfile("c", type_, kind, values=tuple(Value(value, rows) for value, rows in values))


def test_the_newest_time_is_that_of_the_column_which_is_nearest_to_the_report_and_not_after_it() -> None:
    columns = [
        moment("created_at", "2026-01-30 23:59:59"),
        moment("day", "2026-01-31"),
        moment("expires_at", "2026-01-31 12:00:01"),
        moment("never", None),
        moment("size", "2026-01-31 11:00:00", kind="number"),
    ]
    assert newest(columns, TAKEN_AT) == Newest("day", "2026-01-31")
    assert newest(columns[2:], TAKEN_AT) is None


def test_a_column_of_zeros_and_ones_has_a_balance() -> None:
    assert targets([flags("UInt8", "number", ("0", 6), ("1", 2))]) == [LabelBalance("c", 8, 2, 0.25)]
    assert targets([flags("Bool", "flag", ("true", 3))]) == [LabelBalance("c", 3, 3, 1.0)]


def test_other_columns_have_none() -> None:
    others = [
        flags("UInt8", "number", ("0", 6), ("2", 2)),
        flags("Float32", "number", ("0", 6), ("1", 2)),
        flags("String", "text", ("0", 6), ("1", 2)),
        flags("UInt8", "number"),
    ]
    assert targets(others) == []
