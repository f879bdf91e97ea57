"""Test which columns count as near-duplicates."""

from __future__ import annotations

import numpy as np

from raypipe.artifact import alike
from raypipe.artifact.contract import Contract, FrozenFeature


def contract(*features: FrozenFeature) -> Contract:
    return Contract(("user",), ("String",), (), (), features)


def number(name: str) -> FrozenFeature:
    return FrozenFeature(name, "number", "Float32")


def test_columns_that_rank_the_rows_alike_are_a_group_whatever_their_scale_and_sign() -> None:
    random = np.random.default_rng(1)
    a, other = random.exponential(size=(2, 500)).astype(np.float32)
    x = np.column_stack([a, other, np.log(a), -3 * a]).astype(np.float32)
    numbers = contract(number("a"), number("other"), number("log_a"), number("minus_a"))
    assert alike.groups(x, numbers) == (("a", "log_a", "minus_a"),)


def test_a_chain_of_neighbours_is_not_one_group() -> None:
    random = np.random.default_rng(2)
    first = random.normal(size=4000)
    second = first + 0.35 * random.normal(size=4000)
    third = second + 0.35 * random.normal(size=4000)
    x = np.column_stack([first, second, third]).astype(np.float32)
    ranks = alike._correlations(x)
    assert ranks[0, 1] >= alike.ALIKE
    assert ranks[1, 2] >= alike.ALIKE
    assert ranks[0, 2] < alike.ALIKE
    assert alike.groups(x, contract(*map(number, "abc"))) == (("a", "b"),)


def test_the_columns_of_a_category_are_a_group_and_constant_columns_are_none() -> None:
    x = np.array([[1, 0, 5, 5, 1], [0, 1, 5, 5, 2], [1, 0, 5, 5, 3]], np.float32)
    tier = FrozenFeature("tier", "category", "String", "onehot", ("free", "paid"))
    assert alike.groups(x, contract(tier, number("a"), number("b"), number("c"))) == (("tier=free", "tier=paid"),)


def test_missing_values_rank_below_all_others_so_that_equal_gaps_count() -> None:
    random = np.random.default_rng(3)
    a = random.normal(size=300).astype(np.float32)
    gaps = np.where(np.arange(300) % 3 == 0, np.nan, a).astype(np.float32)
    x = np.column_stack([gaps, gaps * 2, a]).astype(np.float32)
    assert alike.groups(x, contract(number("a"), number("b"), number("c"))) == (("a", "b"),)


def test_each_group_has_a_number_and_each_other_column_its_own() -> None:
    assert alike.numbers(("a", "b", "c", "d"), (("b", "d"),)).tolist() == [0, 1, 2, 1]
