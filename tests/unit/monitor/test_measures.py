"""Test the distances of two distributions against SciPy, and the index that chance gives against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from raypipe.artifact.bins import column_bins, count
from raypipe.monitor import measures

EDGES = np.array([1.0, 2.0, 3.0], dtype=np.float32)
REFERENCE, COUNTS = np.array([10, 40, 30, 20, 5]), np.array([20, 20, 35, 25, 10])


def test_the_index_is_the_sum_of_the_two_entropies_of_scipy() -> None:
    p, q = REFERENCE / REFERENCE.sum(), COUNTS / COUNTS.sum()
    assert measures.psi(REFERENCE, COUNTS) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=1e-12)


def test_the_jensen_shannon_distance_is_that_of_scipy_even_with_empty_bins() -> None:
    gap = np.array([0, 50, 30, 20, 5])
    for other in (COUNTS, gap):
        expected = distance.jensenshannon(REFERENCE, other, base=2)
        assert measures.js(REFERENCE, other) == pytest.approx(expected, rel=1e-12)


def test_the_wasserstein_distance_is_that_of_scipy_on_the_same_bins() -> None:
    values = np.array([0.5, 1.4, 2.6, 9.0])
    expected = stats.wasserstein_distance(values, values, REFERENCE[:-1], COUNTS[:-1])
    assert measures.wasserstein(REFERENCE, COUNTS, values) == pytest.approx(expected, rel=1e-12)


def test_an_empty_bin_counts_as_half_a_row_and_equal_counts_have_no_index() -> None:
    p, q = np.array([0.5, 0.5]), np.array([1.0, 0.005])
    assert measures.psi([50, 50], [100, 0]) == pytest.approx(float(np.sum((q - p) * np.log(q / p))))
    assert measures.psi(REFERENCE, REFERENCE) == measures.js(REFERENCE, REFERENCE) == 0
    assert measures.psi([0, 0], [0, 0]) == 0


@pytest.mark.parametrize("values", [30, 100_000])
def test_the_statistic_of_kolmogorov_and_smirnov_is_exact_for_few_values_and_within_its_error_otherwise(
    values: int,
) -> None:
    rng = np.random.default_rng(3)
    before = rng.integers(0, values, 20_000).astype(np.float32)
    after = (rng.integers(0, values, 5_000) * 0.9).astype(np.float32)
    bins = column_bins(before)
    found = measures.ks(count(before, bins.edges), count(after, bins.edges), bins.edges)
    exact = stats.ks_2samp(before, after).statistic
    assert found.value <= exact + 1e-12
    assert exact <= found.value + found.error + 1e-12
    assert found.error <= (0 if values == 30 else 0.011)
    if values == 30:
        assert found.value == pytest.approx(exact, abs=1e-12)


def test_a_coarse_bin_hides_a_distance_which_the_error_admits() -> None:
    found = measures.ks([100, 100, 0], [50, 150, 0], [0.0])
    assert (found.value, found.error) == (0.25, 0.5)


def test_chance_gives_the_expected_index_on_average_and_almost_never_more_than_the_limit() -> None:
    rng = np.random.default_rng(5)
    shares = np.array([0.05, 0.15, 0.2, 0.3, 0.2, 0.1])
    pairs = [(rng.multinomial(1500, shares), rng.multinomial(500, shares)) for _ in range(4000)]
    indices = [measures.psi(*pair) for pair in pairs]
    assert measures.expected_psi(*pairs[0]) == pytest.approx(5 * (1 / 1500 + 1 / 500))
    assert np.mean(indices) == pytest.approx(measures.expected_psi(*pairs[0]), rel=0.05)
    assert sum(index > measures.chance_psi(*pair) for index, pair in zip(indices, pairs, strict=True)) == 0
    # Ten times as many rows, ten times less noise.
    few, many = measures.chance_psi([500, 500], [500, 500]), measures.chance_psi([5000, 5000], [5000, 5000])
    assert few == pytest.approx(10 * many)


def test_the_limit_of_chance_is_the_quantile_of_chi_square() -> None:
    rare = stats.norm.sf(measures.RARE)
    for bins in (4, 11):
        counts = np.full(bins, 100.0)
        exact = stats.chi2.isf(rare, bins - 1) * (2 / counts.sum())
        # The approximation is on the safe side.
        assert exact <= measures.chance_psi(counts, counts) <= 1.08 * exact
    assert measures.chance_psi([100, 0], [90, 0]) == 0
    assert math.isfinite(measures.chance_psi([0, 0], [0, 0]))
