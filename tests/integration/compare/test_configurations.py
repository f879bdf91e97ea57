"""Test the comparison of two configurations of a pipeline on the same test rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.compare.configurations import Difference, compare_with
from raypipe.config.load import Loaded, load_pipeline
from raypipe.errors import UsageError
from raypipe.fit.training_table import PREFIX
from raypipe.project import shipped

QUICK = ("model.rounds=20", "model.workers=0", "split.train_snapshots=1", "evaluate.bootstrap=50")
# They say next to nothing about a reader who leaves.
DEVICES = ("preferred_device_type_id", "preferred_os_id", "preferred_browser_id")


def loaded(pipeline: str, *overrides: str) -> Loaded:
    return load_pipeline(pipeline, shipped() / "configs", [*QUICK, *overrides], environ={})


def compared(endpoint: Endpoint, other: Loaded) -> Difference:
    return compare_with(endpoint, loaded("churn"), other, None, lambda *_: None)


@pytest.fixture(scope="module")
def of_devices(publisher: Endpoint) -> Difference:
    churn = loaded("churn")
    devices = [feature for feature in churn.config.features if feature.name in DEVICES]
    return compared(publisher, replace(churn, config=churn.config.model_copy(update={"features": devices})))


def test_the_difference_is_between_the_metrics_of_the_same_rows(of_devices: Difference) -> None:
    configured, other, gained = of_devices.configured, of_devices.other, of_devices.difference
    assert configured["value"] is not None
    assert other["value"] is not None
    assert gained["value"] == pytest.approx(configured["value"] - other["value"])
    assert of_devices.columns[0] > of_devices.columns[1]
    assert of_devices.metric == "auc"


def test_features_that_matter_are_missed_by_more_than_noise(of_devices: Difference) -> None:
    assert of_devices.difference["low"] is not None
    assert of_devices.difference["low"] > 0


def test_nothing_is_left_behind(of_devices: Difference, publisher: Endpoint) -> None:
    with Client(publisher) as client:
        assert client.value(f"SELECT count() FROM system.tables WHERE name LIKE '{PREFIX}%'") == 0
        assert client.value("SELECT count() FROM ml_model_registry WHERE model_name LIKE '%churn%'") == 0


def test_a_configuration_of_other_rows_is_refused(publisher: Endpoint) -> None:
    with pytest.raises(UsageError, match="do not have the same rows") as refused:
        compared(publisher, loaded("churn", "split.seed=99"))
    assert refused.value.found == "other values of split"


def test_fewer_training_rows_are_judged_on_the_same_test_rows(publisher: Endpoint) -> None:
    fewer = compared(publisher, loaded("churn", "split.max_train_rows=300"))
    assert fewer.rows == compared(publisher, loaded("churn", "model.rounds=1")).rows
    assert fewer.difference["low"] is not None
    assert fewer.difference["low"] > 0


def test_a_pipeline_of_clusters_is_refused(publisher: Endpoint) -> None:
    config = load_pipeline("segmentation", shipped() / "configs", environ={})
    with pytest.raises(UsageError, match="of this model cannot be compared"):
        compare_with(publisher, config, config, None, lambda *_: None)
