"""Test slices on a real primary index: they cover each row once and read little more than one piece would."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import TypeAdapter

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import Slicing, cut, place, unsliced
from raypipe.errors import UsageError

DAY = date(2026, 1, 31)
MOST_GRANULES = 1.1
# Before Europe/Berlin sets its clocks back at 01:00 UTC.
AUTUMN = "toDateTime('2025-10-25 22:00:00', 'UTC')"
HOSTILE = ("a'b", "a\\b", "a\nb", "a\tb", "é😀", "", "\\N", "%(x)s", "a\0b", "{slice}", '"`', "a\rb")


@dataclass(frozen=True)
class Rows:
    """The number of rows of a query, and the sum of their key hashes modulo 2^64."""

    count: int
    checksum: int

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.count + other.count, (self.checksum + other.checksum) % 2**64)


def read(client: Client, sql: str, keys: Sequence[str], parameters: Mapping[str, Any]) -> Rows:
    texts = ", ".join(f"ifNull(toString({identifier(name)}), '')" for name in keys)
    (row,) = client.rows(f"SELECT count(), sum(cityHash64({texts})) FROM (\n{sql}\n)", parameters)
    return Rows(*row)


def by_slice(
    client: Client, sql: str, slicing: Slicing, keys: Sequence[str], parameters: Mapping[str, Any]
) -> list[Rows]:
    return [
        read(client, place(sql, slicing, piece), keys, {**parameters, **slicing.parameters(piece)})
        for piece in slicing.slices
    ]


def covers(
    client: Client,
    table: str,
    slicing: Slicing,
    keys: Sequence[str],
    where: str = "1",
    parameters: Mapping[str, Any] | None = None,
) -> list[Rows]:
    """Checks that the slices yield what the unsliced query yields, and returns what each has."""
    sql = f"SELECT {', '.join(identifier(name) for name in keys)} FROM {identifier(table)} WHERE {where} AND {{slice}}"
    pieces = by_slice(client, sql, slicing, keys, parameters or {})
    assert sum(pieces, Rows(0, 0)) == read(client, unsliced(sql), keys, parameters or {})
    return pieces


def granules(client: Client, sql: str, parameters: Mapping[str, Any]) -> int:
    """The granules that the server would read, by its own EXPLAIN."""
    plan = json.loads(client.rows(f"EXPLAIN indexes = 1, json = 1 {sql}", parameters)[0][0])
    return sum(node["Indexes"][-1]["Selected Granules"] for node in nodes(plan[0]["Plan"]) if "Indexes" in node)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def granules_ratio(
    client: Client, sql: str, whole: str, slicing: Slicing, parameters: Mapping[str, Any] | None = None
) -> float:
    """The granules of all slices together over those of the query without slices."""
    given = dict(parameters or {})
    together = sum(
        granules(client, place(sql, slicing, piece), {**given, **slicing.parameters(piece)}) for piece in slicing.slices
    )
    return together / granules(client, whole, given)


def fill(client: Client, definition: str, select: str, rows: int, parts: int = 1) -> None:
    """A table `t` of `rows` rows from numbers(), written as `parts` parts that stay apart."""
    client.run(f"CREATE TABLE t {definition}")
    client.run("SYSTEM STOP MERGES t")
    share = rows // parts
    for part in range(parts):
        # Without its own order the numbers of each part would be a range of the key of their own.
        source = f"numbers({part * share}, {share})"
        settings = {"max_insert_block_size": rows + 1, "min_insert_block_size_rows": rows + 1, "max_insert_threads": 1}
        client.run(f"INSERT INTO t {select.format(source=source)}", settings={**settings, "max_block_size": rows + 1})
    found = client.value("SELECT count() FROM system.parts WHERE active AND database = currentDatabase()")
    assert found >= parts


MILLIONS = 3_000_000
SNAPSHOT = "(day Date, brand String, user UInt64, value UInt8) ENGINE = MergeTree ORDER BY (day, brand, user)"
SNAPSHOT_ROWS = (
    "SELECT toDate('2026-01-30') + number % 2, concat('b', toString(cityHash64(number) % 5)), cityHash64(number, 1), 1"
    " FROM {source}"
)


@pytest.mark.parametrize("parts", [1, 5])
def test_slices_of_a_snapshot_read_at_most_a_tenth_more_granules_than_one_piece(client: Client, parts: int) -> None:
    fill(client, SNAPSHOT, SNAPSHOT_ROWS, MILLIONS, parts)
    slicing = cut(client, "t", slice_rows=100_000, pinned={"day": DAY})
    assert (slicing.method, slicing.columns) == ("index", ("brand", "user"))
    assert len(slicing.slices) >= (12 if parts == 1 else 2)
    where = "day = {day:Date}"
    sql = f"SELECT sum(value) FROM t WHERE {where} AND {{slice}}"
    ratio = granules_ratio(client, sql, unsliced(sql), slicing, {"day": DAY})
    assert 1 <= ratio <= MOST_GRANULES
    sizes = covers(client, "t", slicing, ["brand", "user"], where, {"day": DAY})
    assert sum(piece.count for piece in sizes) == MILLIONS // 2
    assert max(piece.count for piece in sizes) < 1.5 * MILLIONS // 2 / len(sizes)


@pytest.mark.parametrize(
    ("type_name", "key"),
    [
        ("UInt64", "cityHash64(number)"),
        ("String", "hex(cityHash64(number))"),
        ("UUID", "reinterpretAsUUID(sipHash128(number))"),
        ("DateTime", "toDateTime('2020-01-01 00:00:00') + intDiv(number, 3)"),
        ("DateTime('Europe/Berlin')", f"{AUTUMN} - 100000 + intDiv(number, 2)"),
        ("DateTime64(3, 'Europe/Berlin')", f"toDateTime64({AUTUMN}, 3, 'UTC') - 100000 + number / 2"),
        ("LowCardinality(String)", "concat('user ', toString(cityHash64(number) % 5000))"),
    ],
)
@pytest.mark.parametrize("parts", [1, 4])
def test_slices_of_a_table_without_dates_prune_by_every_type_of_key(
    client: Client, type_name: str, key: str, parts: int
) -> None:
    # 1,024 rows a granule: as many granules as in a table eight times the size, in an eighth of the time.
    definition = (
        f"(k {type_name}, value UInt8) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 1024,"
        " allow_suspicious_low_cardinality_types = 1"
    )
    fill(client, definition, f"SELECT {key}, 1 FROM {{source}}", 400_000, parts)
    slicing = cut(client, "t", slice_rows=5_000)
    assert slicing.method == "index"
    assert len(slicing.slices) > 25 // parts
    sql = "SELECT sum(value) FROM t WHERE {slice}"
    assert granules_ratio(client, sql, unsliced(sql), slicing) <= MOST_GRANULES
    covers(client, "t", slicing, ["k"])


@pytest.mark.versions
@pytest.mark.parametrize(
    ("type_name", "key"),
    [
        ("Int64", "number - 10000"),
        ("Int256", "toInt256(number) * toInt256('-1000000000000000000000')"),
        ("Decimal(18, 4)", "toDecimal64(number, 4) / 7 - 1000"),
        ("Date", "toDate('1970-01-01') + number"),
        ("Date32", "toDate32('1950-01-01') + number"),
        ("DateTime64(6, 'UTC')", "toDateTime64(number / 7, 6, 'UTC')"),
        # Every second around the hour that stands twice on the clock: several bounds lie in it.
        ("DateTime('Europe/Berlin')", f"{AUTUMN} + number"),
        ("DateTime64(3, 'Europe/Berlin')", f"toDateTime64({AUTUMN}, 3, 'UTC') + 7200 + number / 2"),
        ("LowCardinality(DateTime('Europe/Berlin'))", f"{AUTUMN} + number"),
        ("Enum8('it\\'s' = -1, 'b c' = 2, 'ü' = 3)", "['it\\'s', 'b c', 'ü'][1 + intDiv(number, 7000)]"),
        ("Bool", "number > 9000"),
        ("FixedString(8)", "toFixedString(toString(number), 8)"),
        ("IPv4", "toIPv4(toUInt32(cityHash64(number)))"),
        ("IPv6", "toIPv6(toIPv4(toUInt32(cityHash64(number))))"),
    ],
)
def test_keys_of_every_comparable_type_are_cut_into_slices_that_cover_once(
    client: Client, type_name: str, key: str
) -> None:
    definition = (
        f"(k {type_name}) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 64,"
        " allow_suspicious_low_cardinality_types = 1"
    )
    fill(client, definition, f"SELECT {key} FROM {{source}}", 20_000, parts=2)
    slicing = cut(client, "t", slice_rows=2_000)
    assert slicing.method == "index"
    assert len(slicing.slices) > 1
    assert all(piece.count for piece in covers(client, "t", slicing, ["k"]))


@pytest.mark.parametrize("engine", ["MergeTree ORDER BY k SETTINGS index_granularity = 64", "Memory"])
@pytest.mark.parametrize("type_name", ["DateTime", "DateTime64(3)"])
def test_instants_in_the_servers_own_zone_are_cut_into_slices_that_cover_once(
    client: Client, type_name: str, engine: str
) -> None:
    with Client(client.endpoint, {"session_timezone": "Europe/Berlin"}) as there:
        there.run(f"CREATE TABLE t (k {type_name}) ENGINE = {engine}")
        there.run(f"INSERT INTO t SELECT {AUTUMN} + number FROM numbers(20000)")
        slicing = cut(there, "t", slice_rows=1_000, keys=["k"])
        assert (slicing.method, len(slicing.slices)) == ("quantiles" if engine == "Memory" else "index", 20)
        assert all(piece.count for piece in covers(there, "t", slicing, ["k"]))
        sql = "SELECT sum(toUnixTimestamp(k)) FROM t WHERE {slice}"
        if engine != "Memory":
            assert granules_ratio(there, sql, unsliced(sql), slicing) <= MOST_GRANULES


def test_boundaries_with_quotes_backslashes_controls_and_unicode_survive_the_way_to_the_server(
    client: Client,
) -> None:
    client.run("CREATE TABLE t (k String, n UInt32) ENGINE = MergeTree ORDER BY (k, n) SETTINGS index_granularity = 8")
    client.run(
        "INSERT INTO t SELECT arrayJoin({words:Array(String)}) AS k, number FROM numbers(100)",
        {"words": list(HOSTILE)},
    )
    slicing = cut(client, "t", slice_rows=1, keys=["k", "n"])
    assert len(slicing.slices) == 12
    # The smallest word opens the first slice, which has no lower bound.
    bounds = {piece.lower[0] for piece in slicing.slices if piece.lower}
    assert len(bounds) > len(HOSTILE) / 2
    pieces = covers(client, "t", slicing, ["k", "n"])
    assert all(pieces)
    for word in HOSTILE:
        one = Slicing("index", ("k", "n"), ("String", "UInt32"), slicing.slices[:1])
        lower = {"slice_lower_0": word, "slice_lower_1": "0"}
        predicate = one.predicate(type(slicing.slices[0])(0, (word, "0")))
        assert client.value(f"SELECT min(k) FROM t WHERE {predicate}", lower) == word


def test_keys_that_are_not_text_never_become_a_boundary(client: Client) -> None:
    fill(
        client,
        "(k String) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 64",
        "SELECT if(number % 3 = 0, toString(number), reinterpretAsString(cityHash64(number))) FROM {source}",
        20_000,
    )
    slicing = cut(client, "t", slice_rows=2_000)
    assert len(slicing.slices) > 1
    covers(client, "t", slicing, ["k"])


def test_the_part_of_the_sorting_key_beyond_the_primary_key_is_left_out(client: Client) -> None:
    definition = "(a UInt64, b UInt64) ENGINE = MergeTree PRIMARY KEY a ORDER BY (a, b) SETTINGS index_granularity = 64"
    fill(client, definition, "SELECT cityHash64(number), number FROM {source}", 20_000)
    slicing = cut(client, "t", slice_rows=2_000)
    assert (slicing.method, slicing.columns) == ("index", ("a",))
    covers(client, "t", slicing, ["a", "b"])


@pytest.mark.parametrize("order", ["(a, cityHash64(b))", "(a, day, b)"])
@pytest.mark.parametrize("distinct", [5, 10**9])
def test_only_plain_columns_in_front_of_the_pinned_ones_are_cut_on(client: Client, order: str, distinct: int) -> None:
    definition = f"(a UInt64, b UInt64, day Date) ENGINE = MergeTree ORDER BY {order} SETTINGS index_granularity = 64"
    select = f"SELECT cityHash64(number) % {distinct}, number, toDate('2026-01-30') + number % 2 FROM {{source}}"
    fill(client, definition, select, 20_000)
    slicing = cut(client, "t", slice_rows=2_000, pinned={"day": DAY})
    assert (slicing.method, slicing.columns) == ("index", ("a",))
    assert len(slicing.slices) > 1
    covers(client, "t", slicing, ["a", "b"], "day = {day:Date}", {"day": DAY})


@pytest.mark.parametrize("order", ["(a DESC, b)", "(a, b DESC)"])
def test_a_key_in_descending_order_is_cut_into_slices_that_cover_once(client: Client, order: str) -> None:
    definition = (
        f"(a UInt64, b UInt64) ENGINE = MergeTree ORDER BY {order}"
        " SETTINGS index_granularity = 64, allow_experimental_reverse_key = 1"
    )
    fill(client, definition, "SELECT cityHash64(number) % 50, number FROM {source}", 20_000)
    slicing = cut(client, "t", slice_rows=2_000)
    assert len(slicing.slices) > 1
    covers(client, "t", slicing, ["a", "b"])


def test_a_key_of_nothing_but_bytes_is_cut_by_a_hash(client: Client) -> None:
    definition = "(k FixedString(16)) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 64"
    fill(client, definition, "SELECT concat(unhex('ff'), substring(sipHash128(number), 1, 15)) FROM {source}", 20_000)
    slicing = cut(client, "t", slice_rows=2_000, keys=["k"])
    assert (slicing.method, len(slicing.slices)) == ("hash", 10)
    covers(client, "t", slicing, ["k"])


def test_a_date_that_the_partition_holds_and_the_key_does_not_is_cut_all_the_same(client: Client) -> None:
    definition = "(day Date, k UInt64) ENGINE = MergeTree PARTITION BY day ORDER BY k SETTINGS index_granularity = 64"
    fill(client, definition, "SELECT toDate('2026-01-30') + number % 2, cityHash64(number) FROM {source}", 40_000)
    slicing = cut(client, "t", slice_rows=2_000, pinned={"day": DAY})
    assert slicing.method == "index"
    assert len(slicing.slices) > 1
    sql = "SELECT sum(k) FROM t WHERE day = {day:Date} AND {slice}"
    assert granules_ratio(client, sql, unsliced(sql), slicing, {"day": DAY}) <= MOST_GRANULES
    covers(client, "t", slicing, ["k"], "day = {day:Date}", {"day": DAY})


def test_many_rows_with_one_key_stay_in_one_slice(client: Client) -> None:
    definition = "(k String) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 64"
    fill(client, definition, "SELECT if(number < 18000, 'same', toString(number)) FROM {source}", 20_000)
    slicing = cut(client, "t", slice_rows=1_000)
    pieces = covers(client, "t", slicing, ["k"])
    assert max(piece.count for piece in pieces) >= 18_000
    assert all(piece.count for piece in pieces)


def test_a_single_key_for_all_rows_is_one_slice(client: Client) -> None:
    definition = "(k String) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 64"
    fill(client, definition, "SELECT 'same' FROM {source}", 20_000)
    slicing = cut(client, "t", slice_rows=1_000)
    assert (slicing.method, len(slicing.slices)) == ("whole", 1)
    assert covers(client, "t", slicing, ["k"])[0].count == 20_000


@pytest.mark.parametrize("engine", ["MergeTree ORDER BY (day, k)", "MergeTree ORDER BY tuple()", "Memory"])
def test_few_rows_are_one_slice(client: Client, engine: str) -> None:
    client.run(f"CREATE TABLE t (day Date, k UInt64) ENGINE = {engine}")
    client.run("INSERT INTO t SELECT '2026-01-31', number FROM numbers(50)")
    slicing = cut(client, "t", slice_rows=1_000, pinned={"day": DAY}, keys=["k"])
    assert len(slicing.slices) == 1
    assert covers(client, "t", slicing, ["k"]) == [Rows(50, read(client, "SELECT k FROM t", ["k"], {}).checksum)]


@pytest.mark.parametrize("engine", ["MergeTree ORDER BY (day, k)", "MergeTree ORDER BY tuple()", "Memory"])
def test_an_empty_table_is_one_empty_slice(client: Client, engine: str) -> None:
    client.run(f"CREATE TABLE t (day Date, k UInt64) ENGINE = {engine}")
    slicing = cut(client, "t", slice_rows=1_000, pinned={"day": DAY}, keys=["k"])
    assert covers(client, "t", slicing, ["k"]) == [Rows(0, 0)]


def test_a_table_without_an_index_is_cut_at_quantiles_of_the_key(client: Client) -> None:
    client.run("CREATE TABLE t (day Date, name String, n UInt32) ENGINE = Memory")
    client.run(
        "INSERT INTO t SELECT toDate('2026-01-30') + number % 2, {words:Array(String)}[1 + number % 12], number"
        " FROM numbers(60000)",
        {"words": list(HOSTILE)},
    )
    slicing = cut(client, "t", slice_rows=3_000, pinned={"day": DAY}, keys=["name", "n"])
    assert (slicing.method, len(slicing.slices), slicing.rows) == ("quantiles", 10, 30_000)
    pieces = covers(client, "t", slicing, ["name", "n"], "day = {day:Date}", {"day": DAY})
    assert max(piece.count for piece in pieces) < 2 * 3_000


def test_a_view_is_cut_at_quantiles_of_the_key(client: Client) -> None:
    client.run("CREATE TABLE base (k UInt64, kept UInt8) ENGINE = MergeTree ORDER BY k")
    client.run("INSERT INTO base SELECT cityHash64(number), number % 2 FROM numbers(20000)")
    client.run("CREATE VIEW t AS SELECT k FROM base WHERE kept")
    slicing = cut(client, "t", slice_rows=1_000, keys=["k"])
    assert (slicing.method, len(slicing.slices)) == ("quantiles", 10)
    assert all(piece.count > 0 for piece in covers(client, "t", slicing, ["k"]))


def test_quantiles_that_are_not_text_never_become_a_boundary(client: Client) -> None:
    client.run("CREATE TABLE t (k String) ENGINE = Memory")
    client.run(
        "INSERT INTO t SELECT if(number % 2, reinterpretAsString(cityHash64(number)), toString(number))"
        " FROM numbers(20000)"
    )
    slicing = cut(client, "t", slice_rows=1_000, keys=["k"])
    assert slicing.method == "quantiles"
    covers(client, "t", slicing, ["k"])


HASHED = {
    "Nullable(UInt64)": "if(number % 3 = 0, NULL, number)",
    "Nullable(String)": "if(number % 3 = 0, NULL, if(number % 3 = 1, '', toString(number)))",
    "LowCardinality(Nullable(String))": "if(number % 3 = 0, NULL, toString(number % 100))",
    "Float64": "[nan, inf, -inf, 0.5 * number, -0.0][1 + number % 5]",
    "Array(String)": "[toString(number), 'a''b']",
}


@pytest.mark.parametrize("type_name", HASHED)
@pytest.mark.parametrize("engine", ["Memory", "MergeTree ORDER BY k SETTINGS allow_nullable_key = 1"])
def test_keys_that_compare_with_nothing_are_cut_by_a_hash(client: Client, type_name: str, engine: str) -> None:
    client.run(f"CREATE TABLE t (k {type_name}, value UInt8) ENGINE = {engine}")
    client.run(f"INSERT INTO t SELECT {HASHED[type_name]}, 1 FROM numbers(10000)")
    slicing = cut(client, "t", slice_rows=2_000, keys=["k"])
    assert (slicing.method, len(slicing.slices)) == ("hash", 5)
    covers(client, "t", slicing, ["k"])


def test_a_hash_slice_takes_other_bound_values_and_those_that_nothing_binds(client: Client) -> None:
    client.run("CREATE TABLE t (k Nullable(UInt64)) ENGINE = Memory")
    client.run("INSERT INTO t SELECT number FROM numbers(10000)")
    slicing = cut(client, "t", slice_rows=2_000, keys=["k"])
    covers(client, "t", slicing, ["k"], "k < {most:UInt64}", {"most": 9_000})
    covers(client, "t", slicing, ["k"], "toString(k) NOT LIKE '%7'", {"date": DAY})


def test_an_alias_qualifies_the_columns_of_a_slice(client: Client) -> None:
    definition = "(k UInt64, n UInt64) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 64"
    fill(client, definition, "SELECT cityHash64(number), number FROM {source}", 20_000)
    slicing = cut(client, "t", slice_rows=2_000)
    # Both sides have a column k, so that an unqualified one would be ambiguous.
    sql = "SELECT b.k AS k, other.n AS n FROM t AS b INNER JOIN t AS other ON b.k = other.k WHERE {slice:b}"
    pieces = by_slice(client, sql, slicing, ["k", "n"], {})
    assert len(pieces) > 1
    assert sum(pieces, Rows(0, 0)) == read(client, "SELECT k, n FROM t", ["k", "n"], {})


def test_a_table_of_another_database_is_cut_by_its_full_name(client: Client) -> None:
    definition = "(k UInt64) ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 64"
    fill(client, definition, "SELECT cityHash64(number) FROM {source}", 20_000)
    table = f"{client.endpoint.database}.t"
    slicing = cut(client, table, slice_rows=2_000)
    assert slicing.method == "index"
    covers(client, table, slicing, ["k"])


def test_a_slicing_from_its_json_cuts_the_same_rows(client: Client) -> None:
    client.run("CREATE TABLE t (k String, n UInt32) ENGINE = MergeTree ORDER BY (k, n) SETTINGS index_granularity = 8")
    client.run("INSERT INTO t SELECT arrayJoin({w:Array(String)}), number FROM numbers(100)", {"w": list(HOSTILE)})
    slicing = cut(client, "t", slice_rows=1)
    # As a manifest keeps it.
    kept = TypeAdapter(Slicing)
    restored = kept.validate_json(kept.dump_json(slicing))
    assert restored == slicing
    assert covers(client, "t", restored, ["k", "n"]) == covers(client, "t", slicing, ["k", "n"])


def test_a_table_that_does_not_exist_is_named(client: Client) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist"):
        cut(client, "nowhere", slice_rows=10)


def test_a_pinned_column_that_the_table_does_not_have_is_named(client: Client) -> None:
    client.run("CREATE TABLE t (k UInt64) ENGINE = MergeTree ORDER BY k")
    with pytest.raises(UsageError, match="pinned column day"):
        cut(client, "t", slice_rows=10, pinned={"day": DAY})


def test_slices_of_no_rows_are_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="at least one row"):
        cut(client, "t", slice_rows=0)
