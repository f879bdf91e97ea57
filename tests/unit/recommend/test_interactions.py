"""Test interactions: one per pair, events weighted by type and age, only articles of the catalogue."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from raypipe.errors import DataError, UsageError
from raypipe.recommend.interactions import read, read_together
from raypipe.registry.rows import unix_seconds

ITEMS = pa.array(["x", "y", "z"])
AT = datetime(2026, 1, 31, tzinfo=UTC)


def table(*rows: tuple[str, str, str, float | None, int]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table(
        {
            "brand_id": pa.array(columns[0], pa.string()),
            "user_id": pa.array(columns[1], pa.string()),
            "article_id": pa.array(columns[2], pa.string()),
            "weight": pa.array(columns[3], pa.float32()),
            "last_interaction_at": pa.array(columns[4], pa.int64()),
        }
    )


def test_a_pair_adds_its_weights_and_keeps_its_last_time() -> None:
    found = read(
        table(("b", "u", "y", 1.0, 30), ("b", "u", "x", 2.0, 10), ("b", "u", "y", 0.5, 20)),
        ITEMS,
        keys=("brand_id", "user_id"),
    )
    assert found.matrix().toarray().tolist() == [[2.0, 1.5, 0.0]]
    assert found.times.tolist() == [10, 30]


def test_one_user_id_with_two_brands_is_two_users() -> None:
    rows = table(("b", "u", "x", 1.0, 1), ("c", "u", "x", 1.0, 1))
    assert read(rows, ITEMS, keys=("brand_id", "user_id")).user_count == 2
    assert read(rows, ITEMS, keys=("user_id",)).user_count == 1


def test_unknown_items_and_weights_that_are_not_above_zero_are_dropped_and_counted() -> None:
    rows = table(
        ("b", "u", "x", 1.0, 1), ("b", "v", "w", 1.0, 1), ("b", "u", "y", 0.0, 1), ("b", "u", "y", None, 1),
        ("b", "u", "z", -1.0, 1), ("b", "u", "z", float("inf"), 1),
    )  # fmt: skip
    found = read(rows, ITEMS, keys=("brand_id", "user_id"))
    assert (len(found), found.user_count, found.dropped) == (1, 1, 5)


def test_no_interactions_are_no_users() -> None:
    found = read(table(("b", "u", "unknown", 1.0, 1)), ITEMS, keys=("user_id",))
    assert (len(found), found.user_count, found.dropped) == (0, 0, 1)


def test_times_may_be_timestamps() -> None:
    rows = table(("b", "u", "x", 1.0, 0)).set_column(
        4, "last_interaction_at", pa.array([AT], pa.timestamp("us", tz="UTC"))
    )
    assert read(rows, ITEMS, keys=("user_id",)).times.tolist() == [int(AT.timestamp())]


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = [("b", "v", "x", 1.0, 3), ("c", "u", "y", 2.0, 1), ("b", "u", "z", 3.0, 2), ("b", "u", "x", 4.0, 5)]
    found, again = (read(table(*order), ITEMS, keys=("brand_id", "user_id")) for order in (rows, rows[::-1]))
    for name in ("users", "items", "weights", "times"):
        assert getattr(found, name).tolist() == getattr(again, name).tolist()
    assert found.users.tolist() == [0, 0, 1, 2]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="user_id"):
        read(table(("b", "u", "x", 1.0, 1)).drop_columns("user_id"), ITEMS, keys=("user_id",))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="zone"):
        unix_seconds(datetime(2026, 1, 1))


def test_tables_that_are_read_together_number_users_alike() -> None:
    one = table(("b", "v", "x", 1.0, 1))
    other = table(("b", "u", "x", 1.0, 1), ("b", "v", "y", 1.0, 1), ("b", "v", "gone", 1.0, 1))
    first, second = read_together([one, other], ITEMS, keys=("brand_id", "user_id"))
    assert first.users.tolist() == [second.users[second.items == 1][0]]
    assert first.matrix().shape == second.matrix().shape == (2, 3)
    assert (first.dropped, second.dropped) == (0, 1)
