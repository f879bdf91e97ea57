"""Test which counts of a run are compared: of whole slices, and with growth only where nights lie apart."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from raypipe.artifact.bins import Trend, count, fit_bins
from raypipe.monitor.drift import FIT, NIGHT, OK, WARNING, Reference
from raypipe.monitor.histograms import SCORE, Histogram, Series
from raypipe.score import run_drift

DAY = date(2026, 1, 31)
TENURE = Series("tenure")
ROWS = np.round(np.random.default_rng(3).gamma(3, 20, 4000)).astype(np.float32)


def test_of_a_column_with_too_many_values_only_whole_slices_are_kept() -> None:
    few = {"values": {"a": [[1]], "b": [[2]]}, "left_out": 0}
    full = {"values": {"a": [[3]], "c": [[4]]}, "left_out": 7}
    assert run_drift._values([few, few]) == {"a": [[[1]], [[1]]], "b": [[[2]], [[2]]]}
    # Rows of b may be among those that the second left out; c has no row in the first.
    assert run_drift._values([few, full]) == {"a": [[[1]], [[3]]], "c": [[[4]]]}
    assert run_drift._values([full, {"values": {}, "left_out": 9}]) == {}


def card(per_day: float | None, groups: dict[str, float] | None = None) -> Any:
    trend = {"tenure": Trend(per_day, date(2025, 12, 1), True)}
    bins = fit_bins(ROWS[:, None], ROWS / ROWS.max(), ["tenure"], trend, groups)
    feature = SimpleNamespace(name="tenure", columns=("tenure",))
    return SimpleNamespace(bins=bins, contract=SimpleNamespace(columns=("tenure",), features=(feature,)))


def counted(of: Any, rows: np.ndarray) -> Histogram:
    return run_drift._histogram(of.bins.features[0], count(rows, of.bins.features[0].edges))


def compared(of: Any, days_ago: int, kind: str = NIGHT) -> Any:
    """Compare a night with a night on which every value was smaller by the days between."""
    manifest: Any = SimpleNamespace(date=DAY, model_version="v1", unseen={}, source_rows=len(ROWS))
    then = date.fromordinal(DAY.toordinal() - days_ago)
    now = {TENURE: counted(of, ROWS + 60)}
    earlier = Reference(kind, then, "run", "v1", {TENURE: counted(of, ROWS + 60 - days_ago)})
    limits: Any = SimpleNamespace(features={}, psi_warning=0.1, psi_alert=0.25)
    aligned = run_drift._aligned(of, manifest, now, earlier)
    (result,) = run_drift._compared(of, limits, manifest, now, aligned)
    return result


@pytest.mark.parametrize("days_ago", [7, 15, 30])
def test_a_night_long_ago_is_compared_with_its_growth_since(days_ago: int) -> None:
    grown, still = compared(card(1.0), days_ago), compared(card(0.0), days_ago)
    assert grown.status == OK
    assert grown.psi < 0.02 < still.psi
    assert "grows with the calendar" in grown.reason


def test_a_growing_feature_is_at_most_a_warning_over_several_days_and_may_alert_over_one() -> None:
    assert compared(card(0.0), 60).status == WARNING
    assert compared(card(-40.0), 1).status == OK, "a day of growth does not count"
    unknown = compared(card(None), 15)
    assert (unknown.psi, unknown.status) == (None, "not_compared")
    assert compared(card(None), 1).psi is not None


def test_a_slice_of_values_that_groups_share_is_not_compared() -> None:
    of = card(1.0, {"tenure": 40.0})
    sliced = Series("tenure", "tier", "free")
    manifest: Any = SimpleNamespace(date=DAY)
    reason = run_drift._not_comparable(of.bins, sliced, Reference(NIGHT, DAY), manifest)
    assert "groups of rows share its values" in reason
    assert run_drift._not_comparable(of.bins, TENURE, Reference(NIGHT, DAY), manifest) == ""


def test_the_reference_of_the_fit_has_its_rows_as_they_were() -> None:
    of = card(1.0)
    fitted = run_drift._fit(of, SimpleNamespace(model_version="v1"))  # type: ignore[arg-type]
    assert (fitted.kind, fitted.date) == (FIT, date(2025, 12, 1))
    assert fitted.histograms[TENURE].rows == len(ROWS)
    assert {series.column for series in fitted.histograms} == {"tenure", SCORE}
