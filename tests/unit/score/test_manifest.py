"""Test that a resume reads the manifest as it was frozen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from raypipe.clickhouse.partitions import PartitionState
from raypipe.data.pin import PinnedTable
from raypipe.data.slices import Slice, Slicing
from raypipe.errors import DataError
from raypipe.score.manifest import Manifest, PublishTarget
from tests.factories import manifest

MANIFEST = manifest(
    run_id="churn_20260131_0a1b2c3d",
    run_at=datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC),
    slicing=Slicing("index", ("k",), ("String",), (Slice(0, upper=("é'\\\n\0",)), Slice(1, lower=("é'\\\n\0",))), 10),
    threshold=0.123456789,
    levels=(("low", 0.3), ("high", 1.01)),
    timezone="Europe/Helsinki",
    inputs=("history",),
    outputs=(("articles", "Array(String)"),),
    values={"names": ["a", "b"]},
    targets=(PublishTarget("news.t", "SELECT 1"), PublishTarget("u", "SELECT '2'")),
    pinned=(
        PinnedTable("news.people", "ab", False, {"20260131": PartitionState(3, 0, 0, 2**40)}),
        PinnedTable("news.tiers", "cd", True, {"all": PartitionState(1, 2, 0, None)}),
    ),
)


def test_a_manifest_survives_its_json() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_bounds_of_any_text_survive_it_too() -> None:
    hostile = Slicing("index", ("a", "b"), ("String", "UInt8"), (Slice(3, lower=("é'\\\n\0", "1"), bucket=2),), None)
    known = replace(MANIFEST, slicing=hostile, levels=(("all", float("inf")),))
    assert Manifest.from_json(known.to_json()) == known


def test_hash_slices_and_a_snapshot_survive_it_too() -> None:
    hashed = Slicing("hash", ("k",), ("String",), (Slice(0, bucket=0), Slice(1, bucket=1)))
    known = replace(MANIFEST, slicing=hashed, snapshot="raypipe_snapshot_x", levels=())
    assert Manifest.from_json(known.to_json()) == known


def test_bound_dates_come_back_as_the_text_that_the_server_reads() -> None:
    known = replace(MANIFEST, select_parameters={"date": date(2026, 1, 31), "n": 3, "name": "x"})
    restored = Manifest.from_json(known.to_json())
    assert restored.select_parameters == {"date": "2026-01-31", "n": 3, "name": "x"}
    assert restored.to_json() == known.to_json()


def test_the_time_of_a_run_is_utc_whatever_zone_it_was_written_in() -> None:
    text = MANIFEST.to_json().replace("03:04:05Z", "05:04:05+02:00")
    assert "+02:00" in text
    assert Manifest.from_json(text).run_at == MANIFEST.run_at


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '"x"', "not json"])
def test_a_text_that_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="cannot read the run's manifest"):
        Manifest.from_json(text)


def test_a_manifest_of_another_version_is_refused_by_the_fields_that_differ() -> None:
    document = json.loads(MANIFEST.to_json())
    document["colour"] = document.pop("threshold")
    with pytest.raises(DataError) as refused:
        Manifest.from_json(json.dumps(document))
    assert "colour, threshold" in str(refused.value)


def test_the_tables_of_a_run_carry_its_id() -> None:
    assert MANIFEST.staging == "raypipe_staging_churn_20260131_0a1b2c3d"
    assert MANIFEST.explanations == "raypipe_explain_churn_20260131_0a1b2c3d"
    assert MANIFEST.twin(MANIFEST.targets[0], 3) == "raypipe_twin_news_t_churn_20260131_0a1b2c3d_e3"
