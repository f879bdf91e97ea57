"""Test profiles of real databases: the publisher's, one with every kind of table, and a large table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from raypipe.clickhouse import retry
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import Unreachable, UsageError
from raypipe.explore import page
from raypipe.explore.facts import ColumnProfile, DatabaseProfile, Limits, TableProfile
from raypipe.explore.profile import profile
from raypipe.explore.questions import Questions, Unanswered

PATIENCE_SECONDS = 30
# A busy machine should not decide what a test finds.
PATIENT = Limits(table_seconds=600, query_seconds=300)
TAKEN_AT = datetime(2030, 1, 1, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"

ODD = [
    """CREATE TABLE everything (
        id UInt64, u8 UInt8, i256 Int256, f Float64, d Decimal(20, 5), flag Bool, nullable Nullable(Int32),
        s String, low LowCardinality(Nullable(String)), fixed FixedString(4), uuid UUID, ip IPv4,
        enum Enum8('x' = 1, 'y' = 2), day Date, day32 Date32, moment DateTime, precise DateTime64(3, 'Europe/Berlin'),
        list Array(Nullable(String)), map Map(String, UInt64), pair Tuple(a UInt8, b String),
        state AggregateFunction(uniq, String), `odd ``name` String, `dotted.name` Array(UInt8), v0 UInt8,
        `{x:String} %s` UInt8, made UInt64 MATERIALIZED id * 2, shown String ALIAS concat(s, '!'),
        broken UInt64 ALIAS throwIf(id >= 0, 'no such luck')
    ) ENGINE = MergeTree ORDER BY (id, upper(s)) COMMENT 'of every kind'""",
    """INSERT INTO everything SELECT
        number + 1, number % 2, number - 50, [nan, inf, 1.5, -2][number % 4 + 1], number / 7, number % 5 = 0,
        if(number % 10 = 0, NULL, number), if(number < 30, '', ['b', 'c'][number % 2 + 1]), if(number < 20, NULL, 'x'),
        'ab', if(number = 0, toUUID('00000000-0000-0000-0000-000000000000'), generateUUIDv4()), toIPv4('10.0.0.1'), 'y',
        if(number < 25, toDate(0), toDate('2026-01-01') + number), toDate32('1950-01-01') + number,
        if(number < 10, toDateTime(0), toDateTime('2026-01-01 00:00:00', 'UTC') + number),
        toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number, range(number % 3), map('k', number), (1, 'x'),
        arrayReduce('uniqState', ['a']), 'o', [1], 3, 4
        FROM numbers(100)""",
    "CREATE TABLE nothing (a UInt8, b Nullable(String), c Array(UInt8)) ENGINE = MergeTree ORDER BY a",
    "CREATE VIEW few AS SELECT id, s FROM everything WHERE id <= 10",
    "CREATE VIEW many AS SELECT number AS n FROM numbers(1000000)",
    "CREATE VIEW asking AS SELECT id FROM everything WHERE id = {wanted:UInt64}",
    "CREATE TABLE gone (a UInt8) ENGINE = MergeTree ORDER BY a",
    "CREATE VIEW broken_view AS SELECT a FROM gone",
    "DROP TABLE gone SYNC",
    "CREATE VIEW failing_view AS SELECT throwIf(number > 5) AS t FROM numbers(10)",
    "CREATE TABLE target (n UInt64) ENGINE = MergeTree ORDER BY n",
    "CREATE MATERIALIZED VIEW copying TO target AS SELECT id AS n FROM everything",
    "CREATE TABLE swallowed (a UInt8) ENGINE = Null",
    "CREATE TABLE kept (a UInt8, passing UInt8 EPHEMERAL) ENGINE = Memory",
    "INSERT INTO kept (a) SELECT number % 3 FROM numbers(9)",
    f"CREATE TABLE `{EVIL}` (`{EVIL}` String, n UInt8) ENGINE = MergeTree ORDER BY n COMMENT '{EVIL}'",
    f"INSERT INTO `{EVIL}` VALUES ('{EVIL}', 1), ('{EVIL}', 2)",
    "CREATE TABLE `it's.a\\\\table` (a UInt8) ENGINE = MergeTree ORDER BY a",
    "INSERT INTO `it's.a\\\\table` VALUES (7)",
    "CREATE TABLE bytes (raw String) ENGINE = MergeTree ORDER BY tuple()",
    "INSERT INTO bytes SELECT unhex('ff00fe')",
    "CREATE DICTIONARY words (id UInt64, word String) PRIMARY KEY id"
    " SOURCE(CLICKHOUSE(TABLE 'no_such_table')) LAYOUT(FLAT()) LIFETIME(0)",
]


def tables(report: DatabaseProfile) -> dict[str, TableProfile]:
    return {table.table: table for table in report.tables}


def columns(table: TableProfile) -> dict[str, ColumnProfile]:
    return {column.column: column for column in table.columns}


def ask_for(seconds: float, questions: Questions) -> None:
    """Asks until there is no answer: the engine ends soon after the last who uses it, not at once."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        questions.rows("SELECT 1")


@pytest.fixture(scope="module")
def odd(endpoint: Endpoint) -> Iterator[tuple[Endpoint, DatabaseProfile]]:
    name = "raypipe_test_explore_odd"
    with Client(endpoint) as admin:
        admin.run(f"DROP DATABASE IF EXISTS {name} SYNC")
        admin.run(f"CREATE DATABASE {name}")
        try:
            place = replace(endpoint, database=name)
            with Client(place) as client:
                for statement in ODD:
                    client.run(statement)
                yield place, profile(client, taken_at=TAKEN_AT, limits=replace(PATIENT, sample_rows=10_000))
        finally:
            admin.run(f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture(scope="module")
def everything(odd: tuple[Endpoint, DatabaseProfile]) -> dict[str, ColumnProfile]:
    return columns(tables(odd[1])["everything"])


def test_every_table_is_in_the_report_and_only_what_cannot_be_read_has_errors(
    odd: tuple[Endpoint, DatabaseProfile],
) -> None:
    found = tables(odd[1])
    assert len(found) == 15
    assert {name for name, table in found.items() if table.errors} == {"broken_view", "words"}
    unread = {name for name, table in found.items() if table.sample.method == "none"}
    assert unread == {"asking", "broken_view", "words", "copying", "swallowed"}
    assert columns(found["failing_view"])["t"].error != ""
    assert odd[1].errors == ()


def test_a_column_that_cannot_be_computed_fails_alone(everything: dict[str, ColumnProfile]) -> None:
    assert {name for name, column in everything.items() if column.error} == {"broken"}
    assert "no such luck" in everything["broken"].error


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("id", {"nulls": 0, "sentinels": 0, "low": "1", "high": "100", "distinct": 100, "mean": 50.5}),
        ("i256", {"low": "-50", "high": "49", "sentinels": 1}),
        ("f", {"not_finite": 50, "low": "-2", "high": "1.5", "mean": -0.25, "distinct": 4}),
        ("d", {"low": "0", "high": "14.14285", "sentinels": 1}),
        ("flag", {"kind": "flag", "sentinels": None, "low": "false", "high": "true", "mean": 0.2}),
        ("nullable", {"nulls": 10, "sentinels": 0, "low": "1", "high": "99", "distinct": 90}),
        ("s", {"sentinels": 30, "distinct": 3, "low": "0", "high": "1", "mean": 0.7}),
        ("low", {"nulls": 20, "distinct": 1}),
        ("fixed", {"distinct": 1, "high": "2"}),
        ("uuid", {"sentinels": 1, "distinct": 100}),
        ("enum", {"sentinels": None, "distinct": 1}),
        ("day", {"sentinels": 25, "low": "2026-01-26", "high": "2026-04-10"}),
        ("day32", {"sentinels": 0, "low": "1950-01-01", "high": "1950-04-10"}),
        ("moment", {"sentinels": 10, "low": "2026-01-01 00:00:10", "high": "2026-01-01 00:01:39"}),
        ("precise", {"low": "2026-01-01 00:00:00.000", "high": "2026-01-01 00:01:39.000"}),
        ("list", {"kind": "list", "sentinels": 34, "low": "0", "high": "2", "distinct": None}),
        ("map", {"kind": "list", "sentinels": 0, "high": "1"}),
        ("pair", {"kind": "other", "nulls": None}),
        ("state", {"kind": "other", "nulls": None}),
        ("odd `name", {"distinct": 1}),
        ("dotted.name", {"mean": 1.0}),
        ("v0", {"low": "3"}),
        ("{x:String} %s", {"low": "4"}),
        ("made", {"default_kind": "MATERIALIZED", "high": "200"}),
        ("shown", {"default_kind": "ALIAS", "high": "2"}),
    ],
)
def test_columns_of_every_kind_have_their_facts(
    everything: dict[str, ColumnProfile], name: str, facts: dict[str, object]
) -> None:
    assert {fact: getattr(everything[name], fact) for fact in facts} == pytest.approx(facts)


def test_histograms_count_every_value_once_and_no_missing_time(everything: dict[str, ColumnProfile]) -> None:
    for name, rows in (("id", 100), ("nullable", 90), ("day", 75), ("moment", 90), ("f", 50)):
        histogram = everything[name].histogram
        assert histogram is not None
        assert histogram.below + sum(histogram.counts) + histogram.above == rows, name
    assert everything["id"].histogram is not None
    assert everything["id"].histogram.counts == (5,) * 20
    assert everything["v0"].histogram is None


def test_an_outlier_does_not_flatten_a_histogram(client: Client) -> None:
    client.run("CREATE TABLE t (x Float64) ENGINE = MergeTree ORDER BY x")
    client.run("INSERT INTO t SELECT number FROM numbers(1000)")
    client.run("INSERT INTO t VALUES (1e12)")
    (table,) = profile(client, taken_at=TAKEN_AT, limits=PATIENT).tables
    histogram = table.columns[0].histogram
    assert histogram is not None
    assert histogram.high < 1000
    assert min(histogram.counts) > 40
    assert histogram.below + sum(histogram.counts) + histogram.above == 1001


def test_frequent_values_are_counted(everything: dict[str, ColumnProfile]) -> None:
    assert [(value.value, value.rows) for value in everything["s"].values] == [("b", 35), ("c", 35), ("", 30)]
    assert [value.rows for value in everything["u8"].values] == [50, 50]
    assert len(everything["id"].values) == 10


def test_balance_is_told_of_columns_of_zeros_and_ones_alone(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    found = {target.column: target.share for target in tables(odd[1])["everything"].targets}
    assert found == {"u8": 0.5, "flag": 0.2}


def test_an_empty_table_is_described_and_not_judged(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    nothing = tables(odd[1])["nothing"]
    assert (nothing.rows, nothing.sample.rows, nothing.keys, nothing.hazards, nothing.errors) == (0, 0, (), (), ())
    assert [column.nulls for column in nothing.columns] == [None, None, None]


def test_a_view_is_read_as_far_as_the_limit(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    few, many = (tables(odd[1])[name] for name in ("few", "many"))
    assert (few.rows, few.sample.method, few.sample.rows) == (10, "whole", 10)
    assert (many.rows, many.sample.method, many.sample.rows) == (None, "first rows", 10_000)
    assert "not a random sample" in many.sample.about


def test_what_is_only_written_and_never_stored_is_no_column(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    assert columns(tables(odd[1])["kept"]).keys() == {"a"}


def test_a_view_without_its_table_says_so(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    (failure,) = tables(odd[1])["broken_view"].errors
    assert failure.what == "reading"
    assert "gone" in failure.error


def test_names_and_values_of_any_letters_are_read(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    found = tables(odd[1])
    assert columns(found["it's.a\\table"])["a"].low == "7"
    assert columns(found[EVIL])[EVIL].values[0].value == EVIL
    assert columns(found["bytes"])["raw"].high == "3"


def test_the_page_of_the_odd_database_holds_no_script_but_its_own(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    html = page.render(odd[1])
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("<script") == 1


def test_what_changes_a_database_is_not_needed(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    with Client(odd[0], settings={"readonly": 2}) as client:
        report = profile(client, ["everything", "few"], taken_at=TAKEN_AT)
    assert [table.errors for table in report.tables] == [(), ()]


def test_a_large_table_is_sampled_evenly_over_its_parts(client: Client) -> None:
    client.run(
        "CREATE TABLE t (day Date, n UInt64, quarter UInt8, half UInt8) ENGINE = MergeTree PARTITION BY day ORDER BY n"
    )
    client.run(
        "INSERT INTO t SELECT toDate('2026-01-01') + number % 4, number, number % 4, number < 200000"
        " FROM numbers(400000)"
    )
    (table,) = profile(client, taken_at=TAKEN_AT, limits=replace(PATIENT, sample_rows=100_000)).tables
    assert (table.rows, table.sample.method) == (400_000, "granules")
    assert table.sample.rows == pytest.approx(100_000, rel=0.2)
    found = columns(table)
    # 12 runs of 8,192 rows, a quarter of the runs of each part.
    assert [value.rows for value in found["quarter"].values] == pytest.approx([25_000] * 4, rel=0.35)
    assert found["half"].mean == pytest.approx(0.5, abs=0.25)
    assert found["day"].high == "2026-01-04"
    key = next(key for key in table.keys if key.sorting)
    assert (key.unique, key.one_in, key.whole) == (True, 4, True)
    assert key.keys == pytest.approx(100_000, rel=0.1)


def test_a_small_sample_of_a_large_table_has_about_as_many_rows_as_asked_for(client: Client) -> None:
    client.run("CREATE TABLE t (n UInt64, at DateTime) ENGINE = MergeTree ORDER BY n")
    client.run("INSERT INTO t SELECT number, toDateTime(1 + number, 'UTC') FROM numbers(200000)")
    client.run("OPTIMIZE TABLE t FINAL")
    (table,) = profile(client, taken_at=TAKEN_AT, limits=replace(PATIENT, sample_rows=1_000)).tables
    assert table.sample.rows == pytest.approx(1_000, rel=0.1)
    found = columns(table)
    assert found["n"].mean == pytest.approx(100_000, rel=0.1)
    # A sample would miss the oldest and the newest row.
    assert (found["n"].low, found["n"].high) != ("0", "199999")
    assert (found["at"].low, found["at"].high) == ("1970-01-01 00:00:01", "1970-01-03 07:33:20")


def test_of_many_small_parts_some_are_read_and_not_all(client: Client) -> None:
    client.run("CREATE TABLE t (n UInt64) ENGINE = MergeTree PARTITION BY n % 200 ORDER BY n")
    every_part = {"max_partitions_per_insert_block": 0}
    client.run("INSERT INTO t SELECT number FROM numbers(2000)", settings=every_part)
    (table,) = profile(client, taken_at=TAKEN_AT, limits=replace(PATIENT, sample_rows=1_000)).tables
    assert table.sample.rows == pytest.approx(1_000, rel=0.3)


def test_large_rows_are_sampled_by_their_size_and_only_identifiers_tried_as_keys(client: Client) -> None:
    client.run("CREATE TABLE t (n_id UInt64, body String) ENGINE = MergeTree ORDER BY tuple()")
    client.run("INSERT INTO t SELECT number, concat(toString(number), repeat('x', 1000)) FROM numbers(20000)")
    (table,) = profile(client, taken_at=TAKEN_AT, limits=replace(PATIENT, sample_bytes=2_000_000)).tables
    assert (table.rows, table.sample.method) == (20_000, "granules")
    assert table.sample.rows == pytest.approx(2_000, rel=0.2)
    assert [(key.columns, key.keys, key.one_in) for key in table.keys] == [(("n_id",), 20_000, 1)]


def test_a_key_may_be_of_columns_with_any_names(client: Client) -> None:
    client.run("CREATE TABLE t (v0 UInt64, v1 UInt64) ENGINE = MergeTree ORDER BY (v1, v0)")
    client.run("INSERT INTO t SELECT number % 7, number FROM numbers(100)")
    (table,) = profile(client, taken_at=TAKEN_AT, limits=PATIENT).tables
    assert table.errors == ()
    assert [(key.columns, key.keys, key.unique) for key in table.keys] == [
        (("v1", "v0"), 100, True),
        (("v1",), 100, True),
    ]


def test_a_view_with_parameters_is_described_and_not_read(odd: tuple[Endpoint, DatabaseProfile]) -> None:
    asking = tables(odd[1])["asking"]
    assert (asking.columns, asking.errors) == ((), ())
    assert "shows no columns; it is a view with parameters" in asking.sample.about


def test_a_keys_second_row_is_found_wherever_it_is(client: Client) -> None:
    client.run("CREATE TABLE t (k String, v UInt64) ENGINE = ReplacingMergeTree ORDER BY k")
    client.run("SYSTEM STOP MERGES t")
    client.run("INSERT INTO t SELECT toString(number), number FROM numbers(100000)")
    client.run("INSERT INTO t SELECT toString(number), number + 1000000 FROM numbers(10000)")
    (table,) = profile(client, taken_at=TAKEN_AT, limits=replace(PATIENT, sample_rows=20_000)).tables
    key = table.keys[0]
    # An examined key comes with all its rows, so what is counted is exact for the keys examined.
    assert key.one_in == 6
    assert key.rows == key.keys + key.repeated
    assert key.repeated / key.keys == pytest.approx(0.1, rel=0.1)
    assert [hazard.hazard for hazard in table.hazards] == ["repeated keys"]


def test_correlations_are_those_of_the_data(client: Client) -> None:
    client.run(
        "CREATE TABLE t (id UInt64, x Float64, y Float64, z Nullable(Int64), c UInt8) ENGINE = MergeTree ORDER BY id"
    )
    # Large and close together: the naive formula would lose every digit of them.
    client.run(
        "INSERT INTO t SELECT number, 1e9 + number % 10, -2 * (number % 10), if(number % 2, NULL, intDiv(number, 10)),"
        " 7 FROM numbers(1000)"
    )
    (table,) = profile(client, taken_at=TAKEN_AT, limits=PATIENT).tables
    assert table.correlations is not None
    assert table.correlations.columns == ("x", "y", "z")
    x, _, z = table.correlations.matrix
    assert (x[0], x[1]) == (1.0, -1.0)
    assert abs(z[0] or 0) < 0.01


def test_references_are_looked_up(client: Client) -> None:
    client.run("CREATE TABLE brands (brand_id String) ENGINE = MergeTree ORDER BY brand_id")
    client.run("CREATE TABLE users (id UUID) ENGINE = MergeTree ORDER BY id")
    client.run(
        "CREATE TABLE sessions"
        " (n UInt64, brand_id LowCardinality(Nullable(String)), user_id String, other_brand_id String)"
        " ENGINE = MergeTree ORDER BY n"
    )
    client.run("INSERT INTO brands VALUES ('a'), ('b'), ('c')")
    client.run("INSERT INTO users VALUES ('00000000-0000-0000-0000-000000000001')")
    client.run(
        "INSERT INTO sessions VALUES (1, 'a', '00000000-0000-0000-0000-000000000001', ''), (2, 'a', '', ''),"
        " (3, 'b', 'x', ''), (4, 'gone', 'x', ''), (5, NULL, 'x', ''), (6, '', 'x', '')"
    )
    client.run("CREATE TABLE gone (lost_brand_id String) ENGINE = MergeTree ORDER BY tuple()")
    client.run("CREATE VIEW unreadable AS SELECT lost_brand_id FROM gone")
    client.run("DROP TABLE gone SYNC")
    found = {one.column: one for one in profile(client, taken_at=TAKEN_AT, limits=PATIENT).relations}
    brand, user, other = (found[name] for name in ("brand_id", "user_id", "other_brand_id"))
    assert found["lost_brand_id"].error == "one of the tables was not read"
    assert (brand.parent, brand.values, brand.known, brand.rows, brand.known_rows) == ("brands", 3, 2, 4, 3)
    assert brand.coverage == pytest.approx(2 / 3)
    assert (user.parent, user.parent_column, user.values, user.known, user.rows) == ("users", "id", 2, 1, 5)
    assert (other.coverage, other.error) == (None, "the column has no values to look up")


def test_a_reference_is_looked_up_by_one_reading_of_what_may_yield_other_rows_next_time(client: Client) -> None:
    client.run("CREATE TABLE brands (brand_id UInt64) ENGINE = MergeTree ORDER BY brand_id")
    client.run("INSERT INTO brands SELECT number FROM numbers(100000)")
    client.run("CREATE VIEW visits AS SELECT 1 + rand() % 99999 AS brand_id FROM numbers(1000)")
    (relation,) = profile(client, taken_at=TAKEN_AT, limits=PATIENT).relations
    assert (relation.table, relation.coverage, relation.known_rows) == ("visits", 1.0, 1000)


def test_a_table_of_which_the_first_rows_are_read_refutes_no_reference(client: Client) -> None:
    client.run("CREATE VIEW brands AS SELECT number AS brand_id FROM numbers(100000)")
    client.run("CREATE TABLE visits (n UInt64, brand_id UInt64) ENGINE = MergeTree ORDER BY n")
    client.run("INSERT INTO visits VALUES (1, 7), (2, 99999)")
    limits = replace(PATIENT, sample_rows=50_000)
    (relation,) = profile(client, taken_at=TAKEN_AT, limits=limits).relations
    assert (relation.parent, relation.coverage) == ("brands", None)
    assert "only the first rows of brands" in relation.error


def test_a_table_that_takes_too_long_is_given_up_and_the_rest_goes_on(client: Client) -> None:
    client.run(
        "CREATE VIEW a_slow_one AS SELECT number AS n, sleepEachRow(0.02) AS s FROM numbers(100000)"
        " SETTINGS max_block_size = 10"
    )
    client.run("CREATE TABLE quick (n UInt8) ENGINE = Memory")
    client.run("INSERT INTO quick VALUES (1)")
    found = tables(profile(client, taken_at=TAKEN_AT, limits=Limits(table_seconds=2, query_seconds=1)))
    assert found["quick"].rows == 1
    slow = found["a_slow_one"]
    assert slow.seconds < 20
    assert page.failures(slow) != []


def test_a_table_on_another_system_that_does_not_answer_holds_up_nothing(client: Client) -> None:
    client.run("CREATE TABLE elsewhere (a String) ENGINE = URL('http://127.0.0.1:9/no.csv', CSV)")
    (table,) = profile(client, taken_at=TAKEN_AT).tables
    assert [failure.what for failure in table.errors] == ["reading"]
    assert table.seconds < 20


def test_a_tables_questions_end_with_its_time(client: Client) -> None:
    with pytest.raises(Unanswered, match="not asked: the 0 s of the table had passed"):
        Questions(client, Limits(table_seconds=0)).rows("SELECT 1")


def test_a_part_of_an_answer_is_never_taken_for_the_whole(database: Endpoint) -> None:
    slow = "SELECT sum(sleepEachRow(0.02)) FROM numbers(100000) SETTINGS max_block_size = 10"
    with Client(database, {"timeout_overflow_mode": "break"}) as client, pytest.raises(Unanswered):
        Questions(client, Limits(query_seconds=1)).rows(slow)


def test_a_query_that_takes_too_much_memory_fails_alone(client: Client) -> None:
    client.run("CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    client.run("INSERT INTO t SELECT number, repeat(toString(number), 100) FROM numbers(100000)")
    (table,) = profile(client, taken_at=TAKEN_AT, limits=Limits(query_bytes=5 << 20)).tables
    assert any("memory" in why.lower() for _, why in page.failures(table))


def test_a_server_that_is_gone_ends_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)
    with open_embedded(tmp_path / "clickhouse") as lease:
        client = Client(lease.endpoint)
        questions = Questions(client, Limits())
        assert questions.rows("SELECT 1") == [(1,)]
        with pytest.raises(Unanswered):
            questions.rows("SELECT throwIf(1)")
    with client, pytest.raises(Unreachable):
        ask_for(PATIENCE_SECONDS, questions)


def test_a_table_that_does_not_exist_is_refused_by_name(client: Client) -> None:
    with pytest.raises(UsageError, match="no_such") as refused:
        profile(client, ["no_such"], taken_at=TAKEN_AT)
    assert refused.value.exit_code == 2


@pytest.fixture(scope="module")
def published(publisher: Endpoint) -> DatabaseProfile:
    with Client(publisher) as client:
        return profile(client, taken_at=TAKEN_AT, limits=replace(PATIENT, sample_rows=50_000))


def test_nothing_of_the_publisher_fails(published: DatabaseProfile) -> None:
    assert {table.table: page.failures(table) for table in published.tables if page.failures(table)} == {}
    assert published.errors == ()


def test_the_publishers_references_all_hold(published: DatabaseProfile) -> None:
    held = {(one.table, one.column, one.parent) for one in published.relations if one.coverage and one.coverage >= 0.99}
    assert held >= {
        ("brands", "company_id", "companies"),
        ("customer_sessions", "brand_id", "brands"),
        ("customer_sessions", "user_id", "users"),
        ("customer_events", "session_id", "customer_sessions"),
        ("customer_events", "article_id", "editorial_articles"),
        ("customer_user_features", "preferred_category_id", "categories"),
        ("editorial_articles", "primary_author_id", "editorial_authors"),
        ("editorial_content_events", "author_id", "editorial_authors"),
        ("user_accounts", "user_id", "users"),
    }
    refuted = {(one.table, one.column) for one in published.relations if one.coverage == 0}
    # Two kinds of events count apart; an id from outside only looks like an article's.
    assert refuted >= {("editorial_articles", "external_article_id"), ("editorial_content_events", "event_id")}
    # A table's own key, such as that of a performance, only looks like a reference.
    others = refuted - {("editorial_articles", "external_article_id"), ("editorial_content_events", "event_id")}
    assert {column for _, column in others} <= {"performance_id", "user_feature_id"}


def test_the_publishers_hazards_are_told(published: DatabaseProfile) -> None:
    found = {(table.table, hazard.hazard): hazard.columns for table in published.tables for hazard in table.hazards}
    assert found["brands", "repeated keys"] == ("brand_id",)
    assert found["customer_session_summary_daily", "summed averages"] == (
        "avg_session_duration_sec",
        "avg_events_per_session",
    )
    assert {"avg_scroll_depth", "bounce_rate", "engagement_score"} <= {
        *found["editorial_article_performance", "summed averages"]
    }
    assert ("editorial_article_performance", "repeated keys") in found


def test_the_publishers_page_is_one_file_with_its_plots(published: DatabaseProfile, tmp_path: Path) -> None:
    html = page.render(published)
    assert html.count("<svg") > 100
    assert 'src="' not in html
    assert 'href="http' not in html
    assert asdict(published)["tables"][0]["table"] == published.tables[0].table
