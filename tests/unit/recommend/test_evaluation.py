"""Test the evaluation of recommendations: holdouts, and metrics against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from raypipe.errors import DataError
from raypipe.recommend.evaluation import Holdout, evaluate, gain, next_reads, per_user
from raypipe.recommend.interactions import Interactions


def pairs(*rows: tuple[int, int, int], items: int = 20) -> Interactions:
    """Pairs of user, item and time."""
    ordered = np.array(sorted(rows))
    users = ordered[:, 0]
    weights = np.ones(len(rows), np.float32)
    return Interactions(users, ordered[:, 1], weights, ordered[:, 2], int(users.max()) + 1, items)


def held(interactions: Interactions) -> list[tuple[int, int]]:
    return list(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True))


def test_next_is_what_known_users_had_not_read_before() -> None:
    after = pairs((0, 5, 200), (0, 9, 200), (0, 8, 90), (1, 4, 150), (2, 2, 10))
    split = next_reads(pairs((0, 5, 10), (2, 1, 10)), after, since=100)
    assert held(split.test) == [(0, 9)]
    assert len(split.train) == 2
    with pytest.raises(DataError, match="read a new article"):
        next_reads(after, after, since=0)


def split_of(*wanted: tuple[int, int]) -> Holdout:
    test = pairs(*((user, item, 1) for user, item in wanted))
    return Holdout(test, test)


def test_precision_ndcg_and_recall_follow_their_definitions() -> None:
    found = per_user(np.array([[4, 9, 1], [8, 3, -1]]), split_of((0, 1), (0, 4), (2, 3)), k=3)
    np.testing.assert_allclose(found["precision"], [2 / 3, 1 / 3])
    np.testing.assert_allclose(found["recall"], [1, 1])
    discount = 1 / np.log2([2, 3, 4])
    np.testing.assert_allclose(found["ndcg"], [(discount[0] + discount[2]) / (discount[0] + discount[1]), discount[1]])


def test_the_end_of_a_list_is_no_hit() -> None:
    # Without care -1 beside user 1 would be the last item of user 0.
    found = per_user(np.array([[3, -1], [-1, -1]]), split_of((0, 19), (1, 2)), k=2)
    assert found["precision"].tolist() == [0, 0]


def test_precision_of_possible_is_what_implicit_calls_precision() -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k
    from scipy.sparse import random as random_matrix

    train = random_matrix(60, 40, 0.1, "csr", np.float32, 1)
    test = random_matrix(60, 40, 0.2, "csr", np.float32, 2)
    test = (test - test.multiply(train > 0)).tocsr()
    test.eliminate_zeros()
    model = AlternatingLeastSquares(factors=4, random_state=1, num_threads=1)
    model.fit(train, show_progress=False)
    theirs = ranking_metrics_at_k(model, train, test, K=10, show_progress=False, num_threads=1)
    rows, columns = test.nonzero()
    split = split_of(*zip(rows.tolist(), columns.tolist(), strict=True))
    split = Holdout(split.test, Interactions(rows, columns, np.ones(len(rows)), np.ones(len(rows)), 60, 40))
    lists, _ = model.recommend(split.users, train[split.users], N=10)
    ours = evaluate(lists, split, 40, resamples=0)
    assert ours["precision_of_possible"]["value"] == pytest.approx(theirs["precision"])
    assert ours["ndcg"]["value"] == pytest.approx(theirs["ndcg"])


def test_coverage_counts_each_recommended_item_once() -> None:
    found = evaluate(np.array([[1, 2], [2, -1]]), split_of((0, 1), (1, 5)), 8, k=2, resamples=0)
    assert found["coverage"]["value"] == 2 / 8


def test_intervals_hold_the_value_and_narrow_with_users() -> None:
    def width(users: int) -> float:
        rng = np.random.default_rng(1)
        lists = rng.permuted(np.tile(np.arange(20), (users, 1)), axis=1)[:, :10]
        found = evaluate(lists, split_of(*((user, 3) for user in range(users))), 20)["ndcg"]
        assert found["low"] < found["value"] < found["high"]
        return float(found["high"] - found["low"])

    assert width(400) < width(50)


def test_the_gain_over_a_baseline_is_paired() -> None:
    split = split_of(*((user, 3) for user in range(30)))
    good, bad = np.tile([3, 1], (30, 1)), np.tile([1, 3], (30, 1))
    found = gain(good, bad, split, k=2)
    assert found["precision"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["ndcg"]["low"] == pytest.approx(1 - 1 / np.log2(3))


def test_lists_of_other_users_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(3, 2\)"):
        evaluate(np.zeros((3, 2), int), split_of((0, 1)), 8, k=2)
