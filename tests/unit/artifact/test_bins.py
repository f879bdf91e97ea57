"""Test bins frozen at the fit, and the features that grow with the calendar."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pytest

from raypipe.artifact.bins import FINE, Bins, ColumnBins, Trend, column_bins, count, fit_bins, trends

NAN = float("nan")
DAYS = [date(2026, 1, 1), date(2026, 1, 16), date(2026, 1, 31)]


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def wide_shares(bins: ColumnBins) -> np.ndarray:
    return np.asarray(bins.widened().shares)


def test_many_values_are_cut_finely_and_widely_at_their_deciles() -> None:
    values = np.random.default_rng(1).normal(size=100_000).astype(np.float32)
    bins = column_bins(values)
    assert max(bins.shares) <= 1.1 / FINE
    np.testing.assert_allclose(wide_shares(bins), [0.1] * 10 + [0], atol=1e-4)
    assert bins.shares[0] == bins.shares[-2] == 0, "nothing of the fit is outside of its values"


@pytest.mark.parametrize("ones", [0.5, 0.05, 0.001, 0.999])
def test_a_flag_has_a_wide_bin_per_value_however_rare_one_of_them_is(ones: float) -> None:
    values = (np.arange(10_000) < 10_000 * ones).astype(np.float32)
    bins = column_bins(values)
    assert bins.widened().edges == (1.0,)
    np.testing.assert_allclose(wide_shares(bins), [1 - ones, ones, 0])


def test_few_values_have_a_bin_each_and_every_gap_between_them() -> None:
    bins = column_bins(column(*[3] * 90, *[1] * 5, *[7] * 5))
    assert [share for share in bins.shares if share] == [0.05, 0.9, 0.05]
    assert bins.widened().edges == (3.0, 7.0)
    beside = count(column(0, 1, 2, 3, 5, 7, 8), bins.edges)
    assert beside.tolist() == [1, 1, 1, 1, 1, 1, 1, 0]


def test_a_frequent_value_among_many_has_a_bin_of_its_own() -> None:
    values = np.concatenate([np.zeros(5000), np.random.default_rng(2).gamma(2, size=5000)]).astype(np.float32)
    bins = column_bins(values)
    assert 0.5 in bins.shares
    np.testing.assert_allclose(wide_shares(bins)[0], 0.5, atol=0.01)


def test_values_beside_a_heavy_one_are_told_apart_from_it() -> None:
    bins = column_bins(np.concatenate([np.zeros(970), np.arange(1, 31)]).astype(np.float32))
    np.testing.assert_allclose(wide_shares(bins), [0.97, 0.03, 0])


def test_missing_values_have_the_last_bin() -> None:
    assert wide_shares(column_bins(column(1, 2, NAN, NAN))).tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(("values", "shares"), [((5, 5), [1.0, 0.0]), ((NAN, NAN), [0.0, 1.0])])
def test_a_feature_without_variety_has_one_wide_bin(values: tuple[float, ...], shares: list[float]) -> None:
    assert wide_shares(column_bins(column(*values))).tolist() == shares


def test_a_value_on_an_edge_is_above_it_and_those_beyond_all_edges_are_counted() -> None:
    counts = count(column(-9, 1, 1.5, 2, 99, NAN, np.inf, -np.inf), (1.0, 2.0))
    assert counts.tolist() == [2, 2, 3, 1]


def test_nothing_counts_as_nothing() -> None:
    assert count(column(), (1.0,)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_the_shares_and_means_of_the_fit_are_those_of_the_same_rows(scale: float) -> None:
    values = (np.random.default_rng(1).gamma(2, size=5000) * scale).astype(np.float32)
    bins = column_bins(values)
    np.testing.assert_allclose(count(values, bins.edges) / 5000, bins.shares)
    assert np.dot(bins.means, bins.shares[:-1]) == pytest.approx(values.mean(), rel=1e-4)
    assert list(bins.means) == sorted(bins.means)


def test_bins_survive_their_json() -> None:
    growing = {"a": Trend(0.5, DAYS[0], True)}
    bins = fit_bins(np.arange(40, dtype=np.float32).reshape(20, 2) / 3, column(*range(20)), ["a", "b"], growing)
    assert Bins.from_json(json.loads(json.dumps(bins.to_json()))) == bins
    assert bins.rows == 20


def snapshots(grow: float, rows: int = 3000) -> tuple[np.ndarray, list[date]]:
    rng = np.random.default_rng(4)
    dates = [day for day in DAYS for _ in range(rows)]
    grown = np.repeat([grow * (day - DAYS[0]).days for day in DAYS], rows)
    values = np.round(rng.gamma(3, 20, 3 * rows) + grown)
    still = rng.gamma(3, 20, 3 * rows)
    return np.stack([values, still], axis=1).astype(np.float32), dates


def test_a_feature_whose_median_moves_with_the_date_grows_and_the_others_do_not() -> None:
    x, dates = snapshots(1.0)
    found = trends(x, ["tenure", "still"], dates, [], ["tenure", "still"])
    assert list(found) == ["tenure"]
    trend = found["tenure"]
    assert trend.per_day == pytest.approx(1.0, abs=0.1)
    assert (trend.since, trend.whole) == (DAYS[1], True)
    assert trend.growth(date(2026, 3, 17)) == pytest.approx(60, abs=6)
    assert trend.growth(DAYS[1]) == 0
    assert trends(x[:, :1], ["tenure"], dates, [], []) == {}, "a category does not grow"


def test_a_declared_feature_grows_even_if_one_date_cannot_say_by_how_much() -> None:
    x, dates = snapshots(1.0)
    found = trends(x[:3000], ["tenure", "still"], dates[:3000], ["tenure"], ["still"])
    assert found == {"tenure": Trend(None, DAYS[0], True)}
    assert found["tenure"].growth(date(2026, 5, 1)) == 0
    empty = np.full((6, 1), NAN, dtype=np.float32)
    assert trends(empty, ["a"], [*DAYS, *DAYS], ["a"], []) == {"a": Trend(None, DAYS[1], True)}


def test_the_bins_of_a_feature_that_grows_go_on_above_the_values_of_the_fit() -> None:
    x, dates = snapshots(1.0)
    found = trends(x, ["tenure", "still"], dates, [], ["tenure", "still"])
    tenure, still = fit_bins(x, x[:, 0], ["tenure", "still"], found).features
    assert tenure.edges[-1] > x[:, 0].max() + 390
    assert still.edges[-1] == pytest.approx(x[:, 1].max())
    later = count(x[:, 0] + 300, tenure.widened().edges)
    assert np.count_nonzero(later) > 8, "readers are told apart a year later, too"


def test_a_median_that_falls_off_moves_with_the_calendar_but_has_no_growth_to_count_on() -> None:
    x, dates = snapshots(0.0)
    days = np.array([(day - DAYS[0]).days + 20 for day in dates])
    ratio = (x[:, 1] / days).reshape(-1, 1).astype(np.float32)
    found = trends(ratio, ["share"], dates, [], ["share"])
    assert found["share"].per_day is None
    assert found["share"].growth(date(2026, 6, 1)) == 0
