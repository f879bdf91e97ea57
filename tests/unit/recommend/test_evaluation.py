"""Test the evaluation of recommendations: holdouts, and metrics against their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from raypipe.errors import DataError
from raypipe.recommend import catalogue as catalogues
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.evaluation import Holdout, at_random, evaluate, gain, next_reads, per_user, variety
from raypipe.recommend.interactions import DAY_SECONDS, Interactions


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
    assert gain(good, bad, split, k=2, metric="precision") == (0, 0, 0)
    assert gain(good, bad, split, k=2, metric="ndcg") == pytest.approx([1 - 1 / np.log2(3)] * 3)
    mixed = np.where(np.arange(30)[:, None] % 2, good, bad)
    value, low, high = gain(mixed, bad, split, k=2, metric="ndcg")
    assert 0 < low < value < high
    wider = gain(mixed, bad, split, k=2, metric="ndcg", error=0.001)
    assert wider[1] < low


def test_pairs_held_out_at_random_leave_each_reader_a_history() -> None:
    rng = np.random.default_rng(0)
    several = pairs(*{(user, int(item), 0) for user in range(40) for item in rng.integers(0, 20, 12)}, (40, 3, 0))
    split = at_random(several, 0.2, seed=1)
    assert len(split.train) + len(split.test) == len(several)
    assert len(split.test) / len(several) == pytest.approx(0.2, abs=0.05)
    assert set(split.users) <= set(split.train.users)
    assert held(at_random(several, 0.2, seed=1).test) == held(split.test)
    assert held(at_random(several, 0.2, seed=2).test) != held(split.test)


def test_readers_of_one_article_each_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="enough articles to hold some out") as refused:
        at_random(pairs((0, 1, 0), (1, 2, 0), (2, 1, 0)), 0.2, seed=1)
    assert refused.value.found == "3 pairs of 3 readers"


def test_the_first_readers_of_a_holdout_keep_their_reads() -> None:
    split = split_of((0, 1), (0, 4), (3, 3), (7, 1))
    assert split.first(2).users.tolist() == [0, 3]
    assert held(split.first(2).test) == [(0, 1), (0, 4), (3, 3)]
    assert split.first(3) is split


def described(content: list[list[float]], days: list[float]) -> Catalogue:
    names = pa.array([f"a{number}" for number in range(len(days))])
    published = pa.array([-int(day * DAY_SECONDS) for day in days], pa.int64())
    table = pa.table({"article_id": names, "published_at": published})
    return replace(catalogues.read(table), content=np.array(content, np.float32))


def test_diversity_is_the_mean_dissimilarity_of_two_articles() -> None:
    catalogue = described([[1, 0], [1, 0], [0, 1]], [1, 2, 3])
    found = variety(np.array([[0, 1], [0, 2], [2, -1]]), catalogue, 0, 2)["diversity"]
    np.testing.assert_allclose(found, [0, 1, np.nan])
    alike = variety(np.array([[0, 1, 2]]), catalogue, 0, 3)["diversity"]
    np.testing.assert_allclose(alike, [2 / 3])


def test_the_age_of_a_list_is_the_mean_age_of_its_articles() -> None:
    catalogue = described([[1.0]] * 3, [1, 2, 6])
    lists = np.array([[0, 2], [1, -1], [-1, -1]])
    np.testing.assert_allclose(variety(lists, catalogue, 0, 2)["age_days"], [3.5, 2, np.nan])


def test_articles_without_content_or_dates_have_no_variety() -> None:
    bare = catalogues.read(pa.table({"article_id": ["a", "b"]}))
    assert variety(np.array([[0, 1]]), bare, 0, 2) == {}


def test_the_variety_of_lists_has_intervals() -> None:
    lists, values = np.array([[1, 2]] * 40), np.where(np.arange(40) % 4, np.arange(40) / 40, np.nan)
    found = evaluate(lists, split_of(*((user, 1) for user in range(40))), 8, k=2, variety={"diversity": values})
    assert found["diversity"]["low"] < np.nanmean(values) < found["diversity"]["high"]
    assert found["diversity"]["value"] == pytest.approx(np.nanmean(values))


def test_lists_of_other_users_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(3, 2\)"):
        evaluate(np.zeros((3, 2), int), split_of((0, 1)), 8, k=2)
