"""Test the drift of the arms' shares, and the tests of arms against the arm shown most."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from math import log
from typing import Any

import pytest

from raypipe.ads import arm_tests, arms, bandit
from raypipe.ads.ad_revenue import Seen
from raypipe.ads.arm_tests import Night
from raypipe.ads.bandit import Settings

NIGHT = Night(
    "ads_20260131_00000001",
    datetime(2026, 2, 1, 3, tzinfo=UTC),
    "ads",
    "model",
    "20260131.abc",
    date(2026, 1, 2),
    date(2026, 1, 31),
    100,
    0.95,
)
PLACES = {"mobile": {"company_id": "c", "brand_id": "b"}}


def rows(**seen: Seen) -> list[dict[str, Any]]:
    policy = bandit.learn({"mobile": seen}, Settings(draws=5000))
    return list(arm_tests.tests_of(NIGHT, policy.contexts["mobile"], PLACES, {("mobile", "a"): 7}))


def clicked(impressions: int, clicks: int) -> Seen:
    return Seen(impressions, clicks, float(clicks), float(clicks))


def test_the_drift_of_shares_is_their_population_stability_index() -> None:
    found = arms.share_drift({"m": {"a": 80, "b": 20}}, {"m": {"a": 50, "b": 50}})
    assert found["m"] == pytest.approx((0.5 - 0.8) * log(0.5 / 0.8) + (0.5 - 0.2) * log(0.5 / 0.2), abs=1e-5)


def test_a_context_of_one_side_alone_has_no_drift() -> None:
    assert arms.share_drift({"m": {"a": 80}, "gone": {"a": 1}}, {"m": {"a": 3}, "new": {"a": 1}}) == {"m": 0.0}
    assert arms.share_drift({"m": {"a": 0}}, {"m": {"a": 3}}) == {"m": 0.0}


def test_every_arm_is_tested_against_the_one_shown_most() -> None:
    found = rows(a=clicked(3000, 60), b=clicked(1000, 20), c=clicked(1000, 21))
    assert [(row["model_a_id"], row["model_b_id"]) for row in found] == [("a", "b"), ("a", "c")]
    assert [row["traffic_split_a"] for row in found] == [0.6, 0.6]
    assert json.loads(found[0]["metadata"])["arms"]["a"]["users"] == 7
    assert len({row["test_id"] for row in found}) == 2


@pytest.mark.parametrize(
    ("seen", "status", "winner"),
    [
        ({"a": clicked(3000, 60), "b": clicked(1000, 200)}, arm_tests.DECIDED, "b"),
        ({"a": clicked(3000, 60), "b": clicked(1000, 21)}, arm_tests.RUNNING, ""),
        ({"a": clicked(3000, 60), "b": clicked(99, 50)}, arm_tests.RUNNING, ""),
        ({"a": clicked(3000, 60), "b": Seen()}, arm_tests.NOT_SHOWN, ""),
        ({"a": Seen(3000, 60), "b": Seen(1000, 21)}, arm_tests.NO_REVENUE, ""),
        ({"a": clicked(3000, 60)}, arm_tests.ONE_ARM, ""),
    ],
    ids=["decided", "open", "too few impressions", "never shown", "no revenue", "one arm"],
)
def test_a_test_says_how_far_it_has_come(seen: dict[str, Seen], status: str, winner: str) -> None:
    (row,) = rows(**seen)
    assert (row["test_status"], row["winning_model_id"]) == (status, winner)
    assert (row["winner_determined_at"] == NIGHT.run_at) == bool(winner)


def test_a_test_is_decided_by_its_own_two_arms_whichever_is_the_best_of_the_context() -> None:
    found = rows(
        a=clicked(3000, 60), b=clicked(1000, 5), c=clicked(1000, 200), d=clicked(1000, 21), e=clicked(1000, 60)
    )
    assert {row["model_b_id"]: (row["test_status"], row["winning_model_id"]) for row in found} == {
        "b": (arm_tests.DECIDED, "a"),
        "c": (arm_tests.DECIDED, "c"),
        "d": (arm_tests.RUNNING, ""),
        "e": (arm_tests.DECIDED, "e"),
    }


def test_a_test_is_decided_though_two_other_arms_are_level() -> None:
    # Neither b nor c is surely the best arm, and each surely earns more than a.
    found = rows(a=clicked(3000, 60), b=clicked(1000, 100), c=clicked(1000, 100))
    assert [(row["test_status"], row["winning_model_id"]) for row in found] == [
        (arm_tests.DECIDED, "b"),
        (arm_tests.DECIDED, "c"),
    ]


def test_two_arms_without_revenue_are_no_test_beside_one_that_earns() -> None:
    found = rows(a=Seen(3000, 60), b=Seen(1000, 60), c=clicked(1000, 100))
    assert [(row["test_status"], row["winning_model_id"]) for row in found] == [
        (arm_tests.NO_REVENUE, ""),
        (arm_tests.DECIDED, "c"),
    ]
