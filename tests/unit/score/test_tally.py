"""Test the counts of a scoring pass: of all rows, of a sample, and by slice."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from raypipe.artifact.bins import count, fit_bins
from raypipe.artifact.contract import Contract, FrozenFeature
from raypipe.score import tally as module
from raypipe.score.slicers import slicers, watched
from raypipe.score.tally import MOST_VALUES, SAMPLED_ROWS, Tally, stride

NAN = float("nan")
CONTRACT = Contract(
    ("brand",),
    ("String",),
    ("desk",),
    ("Nullable(String)",),
    (
        FrozenFeature("sessions", "number", "UInt32"),
        FrozenFeature("tier", "category", "String", "ordinal", ("free", "plus")),
        FrozenFeature("device", "category", "String", "onehot", ("mobile",)),
    ),
)


def rows(number: int = 4000) -> tuple[pa.RecordBatch, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    tier = rng.choice([0.0, 1.0, NAN], number)
    device = rng.choice([1.0, NAN], number)
    x = np.stack([rng.integers(0, 50, number), tier, device], axis=1).astype(np.float32)
    batch = pa.record_batch(
        {"brand": rng.choice(["north", "south"], number).tolist(), "desk": rng.choice(["a", None], number).tolist()}
    )
    return batch, x, rng.random(number).astype(np.float32)


@pytest.mark.parametrize(("population", "every"), [(1, 1), (SAMPLED_ROWS, 1), (10 * SAMPLED_ROWS, 10)])
def test_a_large_population_is_sampled_and_a_small_one_is_counted_whole(population: int, every: int) -> None:
    assert stride(population) == every


@pytest.mark.parametrize("every", [1, 7])
def test_a_tally_adds_up_all_scores_and_every_nth_row_of_the_features_whatever_the_batches(
    every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_ROWS", 100)
    batch, x, scores = rows()
    bins = fit_bins(x, scores)
    tally = Tally(bins, every)
    for first, last in ((0, 5), (5, 5), (5, 1000), (1000, 4000)):
        tally.add(batch.slice(first, last - first), x[first:last], scores[first:last])
    counted = json.loads(json.dumps(tally.to_json()))
    assert counted["scores"] == count(scores, bins.score.edges).tolist()
    expected = [count(x[::every, place], column.edges).tolist() for place, column in enumerate(bins.features)]
    assert counted["features"] == expected
    assert counted["slices"] == {}


def test_the_sample_is_counted_by_each_value_of_keys_carried_columns_and_categories() -> None:
    batch, x, scores = rows()
    bins = fit_bins(x, scores)
    names = ["brand", "desk", "tier", "device"]
    tally = Tally(bins, 2, slicers(CONTRACT, names))
    for first in (0, 2000):
        tally.add(batch.slice(first, 2000), x[first : first + 2000], scores[first : first + 2000])
    by_slice = tally.to_json()["slices"]
    x, scores, brand = x[::2], scores[::2], np.array(batch.column("brand").to_pylist())[::2]
    assert {name: sorted(counts["values"]) for name, counts in by_slice.items()} == {
        "brand": ["north", "south"],
        "desk": ["", "a"],
        "tier": ["", "free", "plus"],
        "device": ["", "mobile"],
    }
    wide = [column.widened().edges for column in (*bins.features, bins.score)]
    values = np.column_stack([x, scores])
    for counts, here in (
        (by_slice["brand"]["values"]["north"], brand == "north"),
        (by_slice["tier"]["values"]["plus"], x[:, 1] == 1),
        (by_slice["tier"]["values"][""], np.isnan(x[:, 1])),
        (by_slice["device"]["values"]["mobile"], x[:, 2] == 1),
    ):
        assert counts == [count(values[here, place], edges).tolist() for place, edges in enumerate(wide)]


def test_of_a_column_with_too_many_values_the_first_are_counted_and_the_rest_is_said() -> None:
    _, x, scores = rows(500)
    batch = pa.record_batch({"brand": [str(number) for number in range(500)], "desk": ["a"] * 500})
    tally = Tally(fit_bins(x, scores), 1, slicers(CONTRACT, ["brand"]))
    tally.add(batch, x, scores)
    counted = tally.to_json()["slices"]["brand"]
    assert (len(counted["values"]), counted["left_out"]) == (MOST_VALUES, 500 - MOST_VALUES)


def test_an_empty_batch_adds_nothing() -> None:
    batch, x, scores = rows(10)
    tally = Tally(fit_bins(x, scores), 1, slicers(CONTRACT, ["brand", "tier"]))
    tally.add(batch.slice(0, 0), x[:0], scores[:0])
    assert sum(tally.to_json()["scores"]) == 0


def test_a_slice_that_the_version_does_not_read_is_left_out_by_name(caplog: pytest.LogCaptureFixture) -> None:
    assert watched(CONTRACT, ["brand", "sessions", "tier", "country"]) == ("brand", "tier")
    assert "does not read sessions" in caplog.text
    assert "does not read country, so it is not watched; it reads brand, desk, tier, device" in caplog.text
