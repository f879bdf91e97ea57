"""Test the Kolmogorov-Smirnov statistic on real hours of bike rentals, and on synthetic hours."""

from __future__ import annotations

import csv
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from raypipe.artifact.bins import column_bins, count
from raypipe.monitor import measures

FOLDER = "RAYPIPE_TEST_DATA"
PUBLISHED = {"temp": 0.32686, "hum": 0.10336, "windspeed": 0.07591, "cnt": 0.12415}


def statistic(before: np.ndarray, after: np.ndarray) -> float:
    """Return the statistic as drift measures it: by counts in the bins of the earlier rows."""
    bins = column_bins(before.astype(np.float32))
    counts = [count(values.astype(np.float32), bins.edges) for values in (before, after)]
    return measures.ks(*counts, bins.edges).value


def test_the_statistic_of_real_hours_is_the_published_one_to_four_digits() -> None:
    folder = os.environ.get(FOLDER)
    if folder is None or not (Path(folder) / "bike_hour.csv").exists():
        pytest.skip(f"{FOLDER} names no folder with bike_hour.csv, the hours of UCI's bike sharing data")
    with (Path(folder) / "bike_hour.csv").open(newline="") as file:
        hours = [(datetime.strptime(row["dteday"], "%m/%d/%Y"), row) for row in csv.DictReader(file)]
    january = [row for day, row in hours if day <= datetime(2011, 1, 28)]
    february = [row for day, row in hours if datetime(2011, 1, 28) < day <= datetime(2011, 2, 28)]
    assert (len(january), len(february)) == (618, 719)
    for name, published in PUBLISHED.items():
        before, after = (np.array([float(row[name]) for row in rows]) for rows in (january, february))
        assert statistic(before, after) == pytest.approx(published, abs=5e-5), name


@pytest.mark.parametrize("decimals", [0, 2])
def test_the_statistic_of_synthetic_hours_is_that_of_scipy(decimals: int) -> None:
    rng = np.random.default_rng(7)
    before, after = np.round(rng.gamma(2, 0.3, 618), decimals), np.round(rng.gamma(2.2, 0.3, 719), decimals)
    exact = stats.ks_2samp(before.astype(np.float32), after.astype(np.float32)).statistic
    assert statistic(before, after) == pytest.approx(exact, abs=1e-12)
