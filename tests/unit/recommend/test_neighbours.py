"""Test the items that are read together: order, time, caps, and tables without times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raypipe.recommend import neighbours
from raypipe.recommend.interactions import DAY_SECONDS, Interactions
from raypipe.recommend.neighbours import known, nearest
from raypipe.recommend.parameters import CovisitParameters

# No decay and no favour, so that the nearness is the number of readers but for the unit.
PLAIN = CovisitParameters(half_life_days=0, popular=0, reads=1)


def reads(*rows: tuple[int, int, float], items: int = 6) -> Interactions:
    """Return pairs of user, item and day."""
    ordered = sorted(rows)
    users, article, days = (np.array(column) for column in zip(*ordered, strict=True))
    ones = np.ones(len(rows), np.float32)
    return Interactions(users, article, ones, (days * DAY_SECONDS).astype(np.int64), int(users.max()) + 1, items)


def near(pairs: Interactions, params: CovisitParameters = PLAIN, offered: np.ndarray | None = None) -> np.ndarray:
    everything = np.ones(pairs.item_count, np.bool_)
    return nearest(pairs, everything if offered is None else offered, params).toarray()


def test_neighbours_are_read_one_after_the_other() -> None:
    found = near(reads((0, 0, 1), (0, 1, 2), (0, 2, 3)))
    assert found[0, 1] > 0
    assert found[1, 0] > 0
    assert found[0, 2] == 0
    assert near(reads((0, 0, 1), (0, 1, 2), (0, 2, 3)), replace(PLAIN, reads=2))[0, 2] > 0


def test_reads_of_two_readers_are_not_together() -> None:
    assert near(reads((0, 0, 1), (1, 1, 1))).sum() == 0


def test_reads_long_after_one_another_count_less() -> None:
    decayed = replace(PLAIN, half_life_days=2)
    found = near(reads((0, 0, 1), (0, 1, 3), (1, 2, 1), (1, 3, 5)), decayed)
    assert found[0, 1] == pytest.approx(2 * found[2, 3])


def test_a_popular_item_is_a_weaker_neighbour() -> None:
    pairs = reads((0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 2, 2), *((user, 2, 1) for user in range(2, 9)))
    assert near(pairs)[0, 1] == near(pairs)[0, 2]
    favoured = near(pairs, replace(PLAIN, popular=0.5))
    assert favoured[0, 1] > favoured[0, 2]


def test_items_that_are_not_offered_are_no_neighbours() -> None:
    pairs = reads((0, 0, 1), (0, 1, 2), (0, 2, 3))
    found = near(pairs, offered=np.array([True, False, True, True, True, True]))
    assert found[:, 1].sum() == 0
    assert found[1, 0] > 0


def test_an_item_keeps_its_nearest_neighbours() -> None:
    often = [(user, item, item) for user in range(4) for item in (0, 1 + user // 2)]
    found = near(reads(*often, (5, 0, 1), (5, 3, 2)), replace(PLAIN, count=2))
    assert sorted(np.flatnonzero(found[0])) == [1, 2]


def test_a_reader_of_ten_thousand_articles_counts_by_the_latest() -> None:
    crawler = reads(*((0, item, item) for item in range(10_000)), items=10_000)
    found = nearest(crawler, np.ones(10_000, np.bool_), replace(PLAIN, longest=50))
    assert np.flatnonzero(np.diff(found.indptr)).tolist() == list(range(9_950, 10_000))


def test_without_times_all_items_of_a_reader_are_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = reads((0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 2, 0), (1, 3, 0))
    found = near(pairs)
    assert (found > 0).tolist() == (
        near(reads((0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 2, 1), (1, 3, 2)), replace(PLAIN, reads=9)) > 0
    ).tolist()
    monkeypatch.setattr(neighbours, "BLOCK_ITEMS", 2)
    np.testing.assert_array_equal(near(pairs), found)


def test_the_unit_is_a_good_recommendation() -> None:
    rng = np.random.default_rng(0)
    rows = set(zip(rng.integers(0, 200, 2_000).tolist(), rng.integers(0, 50, 2_000).tolist(), strict=True))
    pairs = reads(*((user, item, float(rng.random())) for user, item in sorted(rows)), items=50)
    best = (known(pairs.matrix()) @ nearest(pairs, np.ones(50, np.bool_), CovisitParameters())).max(axis=1).toarray()
    assert np.mean(best > 1) == pytest.approx(0.1, abs=0.01)


def test_nobody_has_no_neighbours() -> None:
    nobody = reads((0, 0, 1)).take(slice(0))
    assert near(nobody).sum() == 0
