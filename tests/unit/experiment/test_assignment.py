"""Test the assignment of units without ClickHouse."""

from __future__ import annotations

import hashlib
from collections import Counter

from raypipe.config.experiment import Arm
from raypipe.experiment.assignment import RANGE, arm_of, arm_sql, bounds

HALVES = [Arm(name="a", share=0.5), Arm(name="b", share=0.5)]


def test_the_arm_is_what_the_documentation_says() -> None:
    digest = hashlib.sha256(b"salt\x1fu17\x1f3").hexdigest()
    expected = "a" if int(digest[:16], 16) < 2**63 else "b"
    assert arm_of(["u17", 3], "salt", HALVES) == expected


def test_keys_of_several_columns_are_told_apart() -> None:
    keys = [[f"a{number}", "bc"] for number in range(64)], [[f"a{number}b", "c"] for number in range(64)]
    one, other = ([arm_of(key, "salt", HALVES) for key in some] for some in keys)
    assert one != other


def test_bounds_cut_the_range_by_the_shares() -> None:
    arms = [Arm(name=name, share=share) for name, share in (("a", 0.25), ("b", 0.25), ("c", 0.5))]
    assert bounds(arms) == [RANGE // 4, RANGE // 2]
    counts = Counter(arm_of([number], "salt", arms) for number in range(20_000))
    assert abs(counts["a"] - 5_000) < 250
    assert abs(counts["c"] - 10_000) < 300


def test_shares_that_are_rounded_leave_no_unit_without_an_arm() -> None:
    arms = [Arm(name=name, share=0.3333) for name in "abc"]
    assert {arm_of([number], "salt", arms) for number in range(100)} == {"a", "b", "c"}


def test_names_are_quoted_in_sql() -> None:
    assert "'it\\'s'" in arm_sql(["`id`"], "salt", [Arm(name="it's", share=0.5), Arm(name="b", share=0.5)])
