"""Test bins frozen at the fit, and the counts of a scoring pass in them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from raypipe.artifact import bins as module
from raypipe.artifact.bins import STRIDE, Bins, Tally, count, fit_bins

NAN = float("nan")


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def bins_of(values: np.ndarray) -> Bins:
    return fit_bins(values.reshape(-1, 1), column(0.1, 0.2))


def test_many_values_are_cut_at_their_deciles() -> None:
    bins = bins_of(np.arange(1000, dtype=np.float32))
    np.testing.assert_allclose(bins.features[0], [999 * i / 10 for i in range(1, 10)], rtol=1e-6)
    np.testing.assert_allclose(bins.feature_shares[0], [0.1] * 10 + [0])


@pytest.mark.parametrize("ones", [0.5, 0.05, 0.001, 0.999])
def test_a_flag_has_a_bin_a_value_however_rare_one_of_them_is(ones: float) -> None:
    values = (np.arange(10_000) < 10_000 * ones).astype(np.float32)
    bins = bins_of(values)
    assert bins.features == ((1.0,),)
    np.testing.assert_allclose(bins.feature_shares[0], [1 - ones, ones, 0])


def test_few_values_have_a_bin_each() -> None:
    bins = bins_of(column(*[3] * 90, *[1] * 5, *[7] * 5))
    assert bins.features == ((3.0, 7.0),)
    assert bins.feature_shares == ((0.05, 0.9, 0.05, 0.0),)


def test_values_beside_a_heavy_one_are_told_apart_from_it() -> None:
    bins = bins_of(np.concatenate([np.zeros(970), np.arange(1, 31)]).astype(np.float32))
    np.testing.assert_allclose(bins.feature_shares[0], [0.97, 0.03, 0])


def test_missing_values_have_the_last_bin() -> None:
    bins = bins_of(column(1, 2, NAN, NAN))
    assert bins.feature_shares == ((0.25, 0.25, 0.5),)


@pytest.mark.parametrize(("values", "shares"), [((5, 5), (1.0, 0.0)), ((NAN, NAN), (0.0, 1.0))])
def test_a_feature_without_variety_has_one_bin(values: tuple[float, ...], shares: tuple[float, ...]) -> None:
    bins = bins_of(column(*values))
    assert (bins.features, bins.feature_shares) == (((),), (shares,))


def test_a_value_on_an_edge_is_above_it_and_those_beyond_all_edges_are_counted() -> None:
    found = count(column(-9, 1, 1.5, 2, 99, NAN, np.inf, -np.inf), (1.0, 2.0))
    assert found.tolist() == [2, 2, 3, 1]


def test_nothing_counts_as_nothing() -> None:
    assert count(column(), (1.0,)).tolist() == [0, 0, 0]


def test_the_shares_of_the_fit_are_the_counts_of_the_same_rows() -> None:
    values = np.random.default_rng(1).gamma(2, size=5000).astype(np.float32)
    bins = bins_of(values)
    np.testing.assert_allclose(count(values, bins.features[0]) / 5000, bins.feature_shares[0])


def test_bins_survive_their_json() -> None:
    bins = fit_bins(np.arange(40, dtype=np.float32).reshape(20, 2), column(*range(20)))
    assert Bins.from_json(json.loads(json.dumps(bins.to_json()))) == bins


def test_a_tally_adds_up_batches_all_scores_and_every_sixteenth_row_of_the_features() -> None:
    x = np.stack([np.arange(64), np.full(64, NAN)], axis=1).astype(np.float32)
    scores = np.linspace(0, 1, 64, dtype=np.float32)
    bins = fit_bins(x, scores)
    tally = Tally(bins)
    for part in (slice(0, 32), slice(32, 64)):
        tally.add(x[part], scores[part])
    assert tally.scores.tolist() == count(scores, bins.score).tolist()
    assert [int(total.sum()) for total in tally.features] == [64 // STRIDE] * 2
    assert tally.features[0].tolist() == count(x[::STRIDE, 0], bins.features[0]).tolist()
    assert tally.features[1].tolist() == [0, 4]
    assert json.loads(json.dumps(tally.to_json()))["scores"] == tally.scores.tolist()


def test_many_batches_are_counted_before_they_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNTED_ROWS", 64)
    x = np.arange(1024, dtype=np.float32).reshape(-1, 1)
    tally = Tally(fit_bins(x, x[:, 0]))
    for first in range(0, len(x), 32):
        tally.add(x[first : first + 32], x[first : first + 32, 0])
        assert sum(map(len, tally._scores)) < 64
    assert tally.scores.tolist() == count(x[:, 0], fit_bins(x, x[:, 0]).score).tolist()
    assert tally.features[0].sum() == len(x) // STRIDE


def test_an_empty_batch_adds_nothing() -> None:
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    tally = Tally(fit_bins(x, x[:, 0]))
    tally.add(x[:0], x[:0, 0])
    assert tally.scores.sum() == 0
