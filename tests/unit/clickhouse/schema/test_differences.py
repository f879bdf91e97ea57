"""Test which differences of an existing table matter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raypipe.clickhouse.schema.declarations import Declaration
from raypipe.clickhouse.schema.differences import compare, holds
from raypipe.clickhouse.schema.migrate import schema
from raypipe.clickhouse.tables import Column, Table

DECLARED = {one.name: one for one in schema()}
PREDICTIONS = DECLARED["ml_model_predictions"]
REGISTRY = DECLARED["ml_model_registry"]


def with_column(one: Declaration, name: str, **changes: str) -> Table:
    columns = tuple(replace(column, **changes) if column.name == name else column for column in one.table.columns)
    return replace(one.table, columns=columns)


def found(table: Table, one: Declaration) -> list[tuple[str, str]]:
    return [(difference.what, difference.severity) for difference in compare(table, one)]


@pytest.mark.parametrize("one", schema(), ids=lambda one: one.name)
def test_a_table_does_not_differ_from_its_own_declaration(one: Declaration) -> None:
    assert compare(one.table, one) == ()


def test_a_missing_column_is_a_problem_that_names_it() -> None:
    table = replace(PREDICTIONS.table, columns=PREDICTIONS.table.columns[1:])
    [difference] = compare(table, PREDICTIONS)
    assert (difference.what, difference.severity) == ("column prediction_id", "problem")
    assert "ml_model_predictions: column prediction_id is missing, not String" in str(difference)


def test_an_additional_column_is_the_publishers_business() -> None:
    table = replace(PREDICTIONS.table, columns=(*PREDICTIONS.table.columns, Column("tenant", "String")))
    assert compare(table, PREDICTIONS) == ()


def test_monthly_partitions_of_a_target_are_a_note() -> None:
    table = replace(PREDICTIONS.table, partition_key="toYYYYMM(predicted_at)")
    assert found(table, PREDICTIONS) == [("partition key", "note")]


def test_parentheses_around_a_partition_key_are_no_difference() -> None:
    churn = DECLARED["customer_churn_predictions"]
    assert compare(replace(churn.table, partition_key="(prediction_date)"), churn) == ()


def test_another_sorting_key_is_a_note_where_rows_are_only_sorted_by_it() -> None:
    assert found(replace(PREDICTIONS.table, sorting_key=("entity_id",)), PREDICTIONS) == [("sorting key", "note")]


def test_another_sorting_key_is_a_problem_where_rows_are_merged_by_it() -> None:
    assert found(replace(REGISTRY.table, sorting_key=("model_code",)), REGISTRY) == [("sorting key", "problem")]


@pytest.mark.parametrize(
    "engine",
    ["ReplicatedReplacingMergeTree('/a,b/{shard}', '{replica}', updated_at)", "SharedReplacingMergeTree(updated_at)"],
)
def test_a_replicated_engine_is_no_difference(engine: str) -> None:
    assert compare(replace(REGISTRY.table, engine_full=f"{engine} ORDER BY model_code"), REGISTRY) == ()


def test_another_engine_is_a_problem() -> None:
    table = replace(REGISTRY.table, engine="MergeTree", engine_full="MergeTree ORDER BY (model_code, model_version)")
    [difference] = compare(table, REGISTRY)
    assert (difference.found, difference.severity) == ("MergeTree", "problem")


def test_another_version_column_is_a_note() -> None:
    table = replace(REGISTRY.table, engine_full="ReplacingMergeTree(created_at) ORDER BY (model_code, model_version)")
    assert found(table, REGISTRY) == [("engine", "note")]


def test_a_table_in_the_place_of_the_view_is_a_problem() -> None:
    view = DECLARED["raypipe_current_predictions"]
    assert found(replace(PREDICTIONS.table, name=view.name), view) == [("engine", "problem")]


def test_a_creation_time_without_its_default_is_a_problem() -> None:
    table = with_column(PREDICTIONS, "created_at", default_kind="", default_expression="")
    assert found(table, PREDICTIONS) == [("default of column created_at", "problem")]


def test_a_column_that_is_computed_is_a_problem() -> None:
    table = with_column(PREDICTIONS, "metadata", default_kind="MATERIALIZED", default_expression="''")
    assert found(table, PREDICTIONS) == [("default of column metadata", "problem")]


def test_another_default_is_a_note() -> None:
    table = with_column(REGISTRY, "model_status", default_expression="'NEW'")
    assert found(table, REGISTRY) == [("default of column model_status", "note")]


@pytest.mark.parametrize(
    ("is_type", "expected"),
    [
        ("LowCardinality(String)", "String"),
        ("String", "LowCardinality(String)"),
        ("Nullable(Float32)", "Float32"),
        ("LowCardinality(Nullable(String))", "String"),
        ("Float64", "Float32"),
        ("UInt64", "UInt16"),
        ("Int32", "UInt16"),
        ("DateTime('UTC')", "DateTime"),
        ("DateTime64(3)", "DateTime"),
        ("Date32", "Date"),
    ],
)
def test_a_type_that_holds_the_same_values_or_more_fits(is_type: str, expected: str) -> None:
    assert holds(is_type, expected)


@pytest.mark.parametrize(
    ("is_type", "expected"),
    [
        ("UUID", "String"),
        ("Float32", "Float64"),
        ("UInt8", "UInt16"),
        ("Int16", "UInt16"),
        ("UInt32", "Float32"),
        ("Date", "DateTime"),
        ("DateTime", "Date"),
        ("Enum8('a' = 1)", "String"),
    ],
)
def test_a_type_that_loses_values_does_not_fit(is_type: str, expected: str) -> None:
    assert not holds(is_type, expected)


def test_a_type_that_does_not_fit_is_a_problem_and_a_wider_one_a_note() -> None:
    narrow = with_column(PREDICTIONS, "entity_id", type="UUID")
    assert found(narrow, PREDICTIONS) == [("type of column entity_id", "problem")]
    wide = with_column(PREDICTIONS, "is_correct", type="UInt64")
    assert found(wide, PREDICTIONS) == [("type of column is_correct", "note")]
