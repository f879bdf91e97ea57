"""What is said to mislead a reader of a table, from its engine, its names and its facts."""

from __future__ import annotations

import pytest

from raypipe.explore.facts import ColumnProfile, Key, TableProfile
from raypipe.explore.hazards import adds_up, find, summed_columns
from raypipe.explore.inventory import UNREAD
from raypipe.explore.kinds import kind_of

COLUMNS = {
    "day": "Date",
    "article_id": "String",
    "performance_id": "String",
    "total_views": "UInt32",
    "avg_time_on_page_sec": "UInt32",
    "bounce_rate": "Float32",
    "author_number_id": "UInt64",
    "note": "String",
}


def table(engine: str) -> TableProfile:
    columns = tuple(ColumnProfile(name, type_, kind_of(type_)) for name, type_ in COLUMNS.items())
    return TableProfile(
        "t", engine, "", 9, None, None, None, None, "toYYYYMM(day)", ("day", "article_id"), UNREAD, columns=columns
    )


def blamed(engine: str, arguments: str = "", keys: tuple[Key, ...] = ()) -> dict[str, tuple[str, ...]]:
    full = (
        f"{engine}{arguments} PARTITION BY toYYYYMM(day) ORDER BY (day, article_id) SETTINGS index_granularity = 8192"
    )
    hazards = find(table(engine), full, table(engine).columns, keys, 9)
    return {hazard.hazard: hazard.columns for hazard in hazards}


@pytest.mark.parametrize("engine", ["SummingMergeTree", "ReplicatedSummingMergeTree", "SharedSummingMergeTree"])
def test_a_summing_table_adds_up_averages_rates_and_ids(engine: str) -> None:
    assert blamed(engine) == {
        "summed averages": ("avg_time_on_page_sec", "bounce_rate", "author_number_id"),
        "arbitrary values": ("performance_id",),
    }


def test_columns_that_the_engine_was_not_told_to_sum_are_not_blamed() -> None:
    assert blamed("SummingMergeTree", "((total_views, bounce_rate))") == {
        "summed averages": ("bounce_rate",),
        "arbitrary values": ("performance_id", "author_number_id"),
    }


def test_other_engines_sum_nothing() -> None:
    assert blamed("MergeTree") == {}
    assert blamed("ReplacingMergeTree", "(day)") == {}


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        ("", set()),
        ("(a)", {"a"}),
        ("((a, `b c`))", {"a", "b c"}),
        ("('/tables/{shard}', '{replica}', (a, b))", {"a", "b"}),
        ("('/tables/{shard}', '{replica}')", set()),
    ],
)
@pytest.mark.parametrize(
    "clauses",
    ["PARTITION BY toYYYYMM(d) ORDER BY (x, y)", "PRIMARY KEY (x, y) ORDER BY (x, y, z)", "ORDER BY (x) TTL toDate(d)"],
)
def test_the_summed_columns_are_read_from_the_engine(arguments: str, columns: set[str], clauses: str) -> None:
    assert summed_columns(f"SummingMergeTree{arguments} {clauses} SETTINGS index_granularity = 8192") == columns


@pytest.mark.parametrize(
    ("name", "sums"),
    [
        ("total_views", True),
        ("total_duration_sec", True),
        ("clicks", True),
        ("order_count", True),
        ("ad_revenue", True),
        ("total_unique_readers", False),
        ("unique_readers", False),
        ("avg_scroll_depth", False),
        ("engagementScore", False),
        ("is_trending", False),
        ("peak_hour", False),
        ("author_id", False),
    ],
)
def test_a_name_tells_whether_a_sum_makes_sense(name: str, sums: bool) -> None:
    assert adds_up(name) is sums


def test_keys_in_several_rows_are_a_hazard_where_the_engine_would_merge_them() -> None:
    key = Key(("day", "article_id"), True, 100, 7, 110, False, 1, True)
    assert blamed("ReplacingMergeTree", keys=(key,)) == {"repeated keys": ("day", "article_id")}
    assert "repeated keys" in blamed("CoalescingMergeTree", keys=(key,))
    assert "repeated keys" in blamed("SummingMergeTree", keys=(key,))
    assert blamed("MergeTree", keys=(key,)) == {}


def test_columns_without_a_value_and_with_a_single_one_are_told_apart() -> None:
    columns = [
        ColumnProfile("empty", "String", "text", nulls=0, sentinels=9, distinct=1),
        ColumnProfile("null", "Nullable(UInt8)", "number", nulls=9, sentinels=0, distinct=0),
        ColumnProfile("both", "Nullable(UInt8)", "number", nulls=4, sentinels=5, distinct=1),
        ColumnProfile("same", "String", "text", nulls=4, sentinels=0, distinct=1),
        ColumnProfile("list", "Array(UInt8)", "list", nulls=0, sentinels=9),
        ColumnProfile("varied", "UInt8", "number", nulls=0, sentinels=3, distinct=2),
        ColumnProfile("unknown", "JSON", "other"),
    ]
    hazards = {hazard.hazard: hazard.columns for hazard in find(table("MergeTree"), "MergeTree", columns, (), 9)}
    assert hazards == {"never filled": ("empty", "null", "both", "list"), "constant": ("same",)}
    assert find(table("MergeTree"), "MergeTree", columns, (), 0) == []
