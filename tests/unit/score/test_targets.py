"""Test which targets can hold a run's rows, without a server: marks, and which partitions may be replaced."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.tables import Column, Table
from raypipe.errors import ConfigError
from raypipe.score import targets
from tests.unit.score.test_publish import manifest


def table(partition_key: str, *columns: str) -> Table:
    names = columns or ("batch_id", "prediction_type", "prediction_date")
    return Table(
        "t", "MergeTree", "MergeTree", tuple(Column(name, "String") for name in names), partition_key, (), {}, 0
    )


@pytest.mark.parametrize(
    ("partition_key", "swapped"),
    [
        ("(prediction_type, prediction_date)", True),
        ("prediction_type, prediction_date", True),
        ("(prediction_date, prediction_type, model_id)", True),
        # Other pipelines' rows of the day are in the same partition.
        ("prediction_date", False),
        # Other days' rows are.
        ("prediction_type", False),
        ("toYYYYMM(predicted_at)", False),
        ("(prediction_type, toYYYYMM(prediction_date))", False),
        ("(prediction_type, prediction_date, brand_id)", False),
        ("", False),
        ("tuple()", False),
    ],
)
def test_a_partition_is_swapped_where_it_holds_one_run_and_nothing_else(partition_key: str, swapped: bool) -> None:
    assert targets.method(table(partition_key)) == ("replace" if swapped else "move")


def test_a_table_of_one_kind_of_prediction_is_swapped_by_the_date_alone() -> None:
    assert targets.method(table("prediction_date", "prediction_date", "created_at")) == "replace"


def test_a_run_is_marked_by_every_column_that_tells_it() -> None:
    full = table("", "batch_id", "created_at", "predicted_at", "model_version", "prediction_date", "score")
    condition, values = targets.mark(full, manifest())
    assert condition == (
        "`batch_id` = {mark_batch_id:String} AND `created_at` = {mark_created_at:DateTime}"
        " AND `predicted_at` = {mark_predicted_at:DateTime} AND `model_version` = {mark_model_version:String}"
        " AND `prediction_date` = {mark_prediction_date:Date}"
    )
    assert values["mark_batch_id"] == "churn_1"
    assert len(values) == 5


@pytest.mark.parametrize("beside", ["prediction_date", "assignment_date", "model_version"])
def test_time_and_a_date_or_version_stand_in_for_a_batch_id(beside: str) -> None:
    condition, _ = targets.mark(table("", "created_at", beside), manifest())
    assert "created_at" in condition
    assert beside in condition


@pytest.mark.parametrize("columns", [("score",), ("created_at",), ("prediction_date", "model_version")])
def test_a_table_whose_runs_cannot_be_told_apart_is_refused(columns: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="tell the rows of two runs apart"):
        targets.mark(table("", *columns), manifest())
