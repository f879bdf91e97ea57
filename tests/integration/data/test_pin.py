"""Test that a change of anything that a query reads is noticed, or that the query is refused by name."""

from __future__ import annotations

from datetime import date

import pytest

from raypipe.clickhouse.client import Client
from raypipe.data import pin, query_tables
from raypipe.data.pin import PinnedTable
from raypipe.errors import ConfigError

pytestmark = pytest.mark.versions

DAY = date(2026, 1, 31)
BASE = "SELECT id, value FROM people WHERE day = {date:Date} AND {slice}"
JOINED = f"SELECT * FROM ({BASE}) AS p ANY LEFT JOIN tiers USING (id)"


@pytest.fixture
def tables(client: Client) -> Client:
    """Create people with a partition per day, tiers of them, and what cannot be pinned."""
    for statement in (
        "CREATE TABLE people (day Date, id UInt64, value UInt64) ENGINE = MergeTree PARTITION BY day ORDER BY id",
        "CREATE TABLE tiers (id UInt64, tier String) ENGINE = ReplacingMergeTree ORDER BY id",
        "CREATE VIEW gold AS SELECT id FROM tiers FINAL WHERE tier = 'gold'",
        "CREATE VIEW golden AS SELECT id FROM gold",
        "CREATE TABLE remembered (id UInt64) ENGINE = Memory",
        "CREATE DICTIONARY names (id UInt64, name String) PRIMARY KEY id SOURCE(NULL()) LAYOUT(FLAT()) LIFETIME(0)",
        "CREATE TABLE raypipe_runs (id UInt64) ENGINE = MergeTree ORDER BY id",
    ):
        client.run(statement)
    client.run("INSERT INTO people SELECT toDate('2026-01-30') + number % 2, number, 1 FROM numbers(20)")
    client.run("INSERT INTO tiers VALUES (1, 'gold'), (2, 'silver')")
    return client


def pinned(client: Client, sql: str, table: str = "people", **fixed: date) -> dict[str, PinnedTable]:
    """Pin a query's tables, by their names without the database."""
    tables = pin.take(client, sql, {"date": DAY}, table, fixed or {"day": DAY}, "features.sql")
    return {item.table.rpartition(".")[2]: item for item in tables}


def changes(client: Client, items: dict[str, PinnedTable]) -> list[str]:
    return list(pin.changes(client, tuple(items.values())))


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        (BASE, {"people"}),
        (JOINED, {"people", "tiers"}),
        (f"{BASE} AND id IN (SELECT id FROM tiers)", {"people", "tiers"}),
        (f"{BASE} AND value > (SELECT count() FROM tiers)", {"people", "tiers"}),
        (f"WITH (SELECT max(id) FROM tiers) AS top {BASE} AND id < top", {"people", "tiers"}),
        (f"{BASE} AND EXISTS (SELECT 1 FROM tiers)", {"people", "tiers"}),
        (f"{BASE} AND id IN golden", {"people", "tiers", "gold", "golden"}),
        (f"{BASE} UNION ALL SELECT id, 0 FROM gold", {"people", "tiers", "gold"}),
        (f"{BASE} AND id IN (SELECT number FROM numbers(5))", {"people"}),
    ],
)
def test_every_table_that_a_query_reads_is_pinned(tables: Client, sql: str, read: set[str]) -> None:
    assert pinned(tables, sql).keys() == read


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ("id IN (SELECT id FROM remembered)", "remembered (Memory)"),
        ("id IN (SELECT id FROM names)", "names (Dictionary)"),
        ("dictGet('names', 'name', id) = 'a'", "dictGet()"),
        ("day < today()", "today()"),
        ("value < rand()", "rand()"),
        ("id IN (SELECT id FROM merge(currentDatabase(), 'tiers'))", "the table function merge"),
        ("id IN (SELECT id FROM raypipe_runs)", "raypipe_runs (written by every run)"),
    ],
)
def test_what_cannot_be_pinned_is_refused_by_name(tables: Client, condition: str, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        pinned(tables, f"{BASE} AND {condition}")
    assert named in str(refused.value.found)
    assert "source.snapshot: true" in str(refused.value.next_step)


def test_of_the_base_table_only_the_partitions_of_the_date_are_pinned(tables: Client) -> None:
    items = pinned(tables, BASE)
    assert (list(items["people"].states), items["people"].whole) == (["20260131"], False)
    tables.run("INSERT INTO people VALUES ('2026-01-30', 99, 1), ('2026-02-01', 99, 1)")
    assert changes(tables, items) == []
    tables.run("INSERT INTO people VALUES ('2026-01-31', 99, 1)")
    (change,) = changes(tables, items)
    assert "partition 20260131" in change
    assert ".people was inserted into" in change


def test_of_a_date_without_rows_no_partition_is_pinned(tables: Client) -> None:
    day = date(2026, 3, 1)
    (item,) = pin.take(tables, BASE, {"date": day}, "people", {"day": day}, "features.sql")
    assert (item.states, item.whole) == ({}, False)


@pytest.mark.parametrize(
    "sql",
    [
        BASE.replace("day =", "day <="),
        f"{BASE} AND id IN (SELECT id FROM people WHERE day < {{date:Date}})",
        "SELECT id FROM (SELECT id, day FROM people) WHERE day = {date:Date} AND {slice}",
    ],
    ids=["other days", "the table twice", "columns of a subquery"],
)
def test_the_whole_base_table_is_pinned_where_a_query_may_read_other_days(tables: Client, sql: str) -> None:
    items = pinned(tables, sql)
    tables.run("INSERT INTO people VALUES ('2026-01-29', 99, 1)")
    (change,) = changes(tables, items)
    assert "partition 20260129" in change
    assert change.endswith("is new")


def test_a_qualified_slice_finds_the_partitions_too(tables: Client) -> None:
    sql = "SELECT p.id FROM people AS p INNER JOIN tiers AS t ON t.id = p.id WHERE p.day = {date:Date} AND {slice:p}"
    assert list(pinned(tables, sql)["people"].states) == ["20260131"]


def test_a_table_without_a_partition_key_is_pinned_whole(tables: Client) -> None:
    tables.run("CREATE TABLE flat (day Date, id UInt64) ENGINE = MergeTree ORDER BY id")
    tables.run("INSERT INTO flat VALUES ('2026-01-31', 1)")
    items = pinned(tables, "SELECT id FROM flat WHERE day = {date:Date} AND {slice}", table="flat")
    assert list(items["flat"].states) == ["all"]


def test_a_merge_counts_as_a_change_only_where_it_changes_what_a_query_reads(tables: Client) -> None:
    """Without FINAL, a query sees the rows that a merge of a ReplacingMergeTree removes."""
    tables.run("INSERT INTO tiers VALUES (1, 'gold')")
    merged = pinned(tables, f"{BASE} AND id IN (SELECT id FROM tiers FINAL)")
    unmerged = pinned(tables, f"{BASE} AND id IN (SELECT id FROM tiers)")
    tables.run("OPTIMIZE TABLE tiers FINAL")
    assert changes(tables, merged) == []
    assert "has 2 rows instead of 3" in changes(tables, unmerged)[0]


@pytest.mark.parametrize(
    "swap",
    [
        "EXCHANGE TABLES tiers AND twin",
        "CREATE OR REPLACE VIEW gold AS SELECT id FROM tiers",
        "ALTER TABLE tiers MODIFY COLUMN tier DEFAULT 'none'",
    ],
)
def test_another_table_or_definition_of_a_name_is_a_change(tables: Client, swap: str) -> None:
    """The parts of both tables have the same names."""
    tables.run("CREATE TABLE twin AS tiers")
    tables.run("INSERT INTO twin VALUES (1, 'silver'), (2, 'gold')")
    items = pinned(tables, f"{BASE} AND id IN gold")
    tables.run(swap)
    assert any("was altered, replaced or dropped" in change for change in changes(tables, items))


def test_a_dropped_table_is_a_change(tables: Client) -> None:
    items = pinned(tables, JOINED)
    tables.run("DROP TABLE tiers SYNC")
    assert any("tiers was altered, replaced or dropped" in change for change in changes(tables, items))


def test_a_table_that_is_always_read_with_final_is_known_to_be(tables: Client) -> None:
    once = query_tables.find(tables, "SELECT id FROM tiers FINAL", {})
    both = query_tables.find(tables, "SELECT id FROM tiers FINAL WHERE id IN (SELECT id FROM tiers)", {})
    assert [read.final for read in (*once.tables, *both.tables)] == [True, False]
