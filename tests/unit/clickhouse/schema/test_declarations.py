"""Test the DDL files without a server."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.schema.declarations import declaration
from raypipe.clickhouse.schema.migrate import schema
from raypipe.clickhouse.statements import Statement, load_all
from raypipe.errors import ConfigError
from raypipe.project import shipped

OWN = {
    "raypipe_runs",
    "raypipe_slices",
    "raypipe_rejected_rows",
    "raypipe_aliases",
    "raypipe_writes",
    "raypipe_exposures",
    "raypipe_histograms",
    "raypipe_drift_rows",
    "raypipe_drift",
    "raypipe_checks",
    "raypipe_counted_rejections",
    "raypipe_current_predictions",
}
TARGETS = {
    "customer_user_features",
    "customer_churn_predictions",
    "customer_recommendations",
    "customer_conversion_predictions",
    "customer_user_segments",
    "customer_user_segment_assignments",
    "ml_model_predictions",
}


def test_there_are_thirty_three_tables_of_the_publisher_fourteen_of_raypipe_and_a_view_of_each_target_of_runs() -> None:
    names = [one.name for one in schema()]
    views = [name for name in names if name.startswith("raypipe_current_")]
    assert sorted(views) == sorted(current_views.name(target) for target in TARGETS - {"customer_user_features"})
    assert len(names) == len(set(names)) == 33 + 14 + 6
    assert set(names) >= OWN


def test_the_tables_that_runs_are_published_into_are_marked() -> None:
    assert {one.name for one in schema() if one.is_published} == TARGETS


def test_every_statement_states_its_grain() -> None:
    files = sorted((shipped() / "sql" / "schema").glob("*.sql"))
    assert files
    assert not [one.text for path in files for one in load_all(path) if "grain" not in one.header]


def test_a_view_comes_after_the_tables_it_reads() -> None:
    names = [one.name for one in schema()]
    assert names.index("raypipe_current_predictions") > names.index("raypipe_runs")
    assert names.index("raypipe_counted_rejections") > names.index("raypipe_slices")


def test_a_column_is_read_with_its_type_default_comment_and_codec() -> None:
    text = (
        "CREATE TABLE IF NOT EXISTS t\n(\n    a DateTime64(6, 'UTC') DEFAULT now64(6),\n"
        "    b String COMMENT 'JSON, ordered' CODEC(ZSTD(3)),\n    c Date MATERIALIZED toDate(a)\n)\n"
        "ENGINE = ReplacingMergeTree(a)\nPARTITION BY toYYYYMM(a)\nORDER BY (a, b)"
    )
    table = declaration(Statement(text)).table
    assert [(one.name, one.type, one.default_kind, one.default_expression) for one in table.columns] == [
        ("a", "DateTime64(6, 'UTC')", "DEFAULT", "now64(6)"),
        ("b", "String", "", ""),
        ("c", "Date", "MATERIALIZED", "toDate(a)"),
    ]
    assert (table.engine, table.partition_key, table.sorting_key) == ("ReplacingMergeTree", "toYYYYMM(a)", ("a", "b"))


def test_a_statement_that_creates_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a CREATE TABLE or VIEW"):
        declaration(Statement("ALTER TABLE users ADD COLUMN a String"))


def test_a_column_in_another_layout_is_refused_instead_of_skipped() -> None:
    text = "CREATE TABLE IF NOT EXISTS t\n(\n    a String, b String,\n    c String\n)\nENGINE = MergeTree\nORDER BY a"
    with pytest.raises(ConfigError, match="not written as expected"):
        declaration(Statement(text))
