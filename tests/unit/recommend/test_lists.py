"""Test how lists are made of the highest scores: caps, the price of sameness, and what happens where they run out."""

from __future__ import annotations

import numpy as np

from raypipe.recommend.lists import arranged, pool_of
from raypipe.recommend.parameters import ListParameters

CATEGORIES = np.array([0, 0, 0, 1, 1, -1, -1, -1])
AUTHORS = np.array([0, 1, 2, 0, 1, -1, -1, -1])
SCORES = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]], np.float32)


def listed(rules: ListParameters, n: int = 4, scores: np.ndarray = SCORES) -> tuple[list[int], list[float]]:
    columns = np.broadcast_to(np.arange(8), scores.shape)
    items, values = arranged(columns, scores, CATEGORIES, AUTHORS, n, rules)
    return items[0].tolist(), values[0].astype(float).round(3).tolist()


def test_without_rules_the_highest_scores_are_the_list() -> None:
    assert listed(ListParameters()) == ([0, 1, 2, 3], [0.9, 0.8, 0.7, 0.6])
    assert pool_of(10, ListParameters()) == 10
    assert pool_of(10, ListParameters(per_author=1)) > 10


def test_a_category_has_no_more_than_its_cap() -> None:
    assert listed(ListParameters(per_category=1))[0] == [0, 3, 5, 6]


def test_an_author_has_no_more_than_the_cap() -> None:
    assert listed(ListParameters(per_author=1))[0] == [0, 1, 2, 5]


def test_items_without_a_category_are_not_capped() -> None:
    assert listed(ListParameters(per_category=1), n=5)[0] == [0, 3, 5, 6, 7]


def test_a_list_that_would_end_takes_what_is_beyond_a_cap_in_the_order_of_scores() -> None:
    assert listed(ListParameters(per_category=1), n=8)[0] == [0, 3, 5, 6, 7, 1, 2, 4]


def test_each_article_of_a_category_costs_the_next_of_it() -> None:
    assert listed(ListParameters(diversity=0.12), n=4)[0] == [0, 1, 3, 2]
    assert listed(ListParameters(diversity=9), n=5)[0] == [0, 3, 5, 6, 7]


def test_scores_fall_with_the_rank() -> None:
    items, values = listed(ListParameters(per_category=1), n=8)
    assert items != sorted(items)
    assert values == [0.9, 0.6, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2]


def test_a_list_ends_where_the_scores_do() -> None:
    few = np.where(np.arange(8) < 2, SCORES, -np.inf).astype(np.float32)
    items, values = listed(ListParameters(per_category=1), scores=few)
    assert items[:2] == [0, 1]
    assert values == [0.9, 0.8, -np.inf, -np.inf]
