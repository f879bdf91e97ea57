"""The drift of the arms' shares, and the tests of arms against the arm shown most."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from math import log
from typing import Any

import pyarrow as pa
import pytest

from raypipe.ads import ab_tests, bandit, monitoring
from raypipe.ads.ab_tests import PolicyRun
from raypipe.ads.events import TEST, TRAIN, AdEvents, AdWindow
from raypipe.ads.revenue import ArmTotals
from raypipe.config.ads import Ads

SETTINGS = Ads(draws=5000)
RUN = PolicyRun(
    "ads_20260131_00000001",
    datetime(2026, 2, 1, 3, tzinfo=UTC),
    "ads",
    "model",
    "20260131.abc",
    AdWindow(date(2026, 1, 31), "UTC", SETTINGS),
)
EVENTS = AdEvents(pa.table({}), {"mobile": {"company_id": "c", "brand_id": "b"}}, {("mobile", "a"): 7}, 0, {}, "")


def rows(**totals: ArmTotals) -> list[dict[str, Any]]:
    policy = bandit.learn({"mobile": totals}, SETTINGS, seed=0)
    return list(ab_tests.tests_of(RUN, policy.contexts["mobile"], EVENTS))


def shown(*cells: tuple[str, str, str, int]) -> AdEvents:
    """Events of parts, contexts and arms with so many impressions."""
    names = ("part", "context", "arm", "impressions")
    return replace(EVENTS, cells=pa.Table.from_pylist([dict(zip(names, cell, strict=True)) for cell in cells]))


def clicked(impressions: int, clicks: int) -> ArmTotals:
    return ArmTotals(impressions, clicks, float(clicks), float(clicks))


def test_the_drift_of_shares_is_their_population_stability_index() -> None:
    found = monitoring.share_drift(
        shown(
            (TRAIN, "m", "a", 80),
            (TRAIN, "m", "b", 20),
            (TEST, "m", "a", 20),
            (TEST, "m", "a", 30),
            (TEST, "m", "b", 50),
        )
    )
    assert found["m"] == pytest.approx((0.5 - 0.8) * log(0.5 / 0.8) + (0.5 - 0.2) * log(0.5 / 0.2), abs=1e-5)


def test_a_context_of_one_side_alone_has_no_drift() -> None:
    both = (TRAIN, "m", "a", 80), (TEST, "m", "a", 3)
    assert monitoring.share_drift(shown(*both, (TRAIN, "gone", "a", 1), (TEST, "new", "a", 1))) == {"m": 0.0}
    assert monitoring.share_drift(shown((TRAIN, "m", "a", 0), (TEST, "m", "a", 3))) == {"m": 0.0}


def test_every_arm_is_tested_against_the_one_shown_most() -> None:
    found = rows(a=clicked(3000, 60), b=clicked(1000, 20), c=clicked(1000, 21))
    assert [(row["model_a_id"], row["model_b_id"]) for row in found] == [("a", "b"), ("a", "c")]
    assert [row["traffic_split_a"] for row in found] == [0.6, 0.6]
    assert json.loads(found[0]["metadata"])["arms"]["a"]["users"] == 7
    assert len({row["test_id"] for row in found}) == 2


@pytest.mark.parametrize(
    ("seen", "status", "winner"),
    [
        ({"a": clicked(3000, 60), "b": clicked(1000, 200)}, ab_tests.DECIDED, "b"),
        ({"a": clicked(3000, 60), "b": clicked(1000, 21)}, ab_tests.RUNNING, ""),
        ({"a": clicked(3000, 60), "b": clicked(99, 50)}, ab_tests.RUNNING, ""),
        ({"a": clicked(3000, 60), "b": ArmTotals()}, ab_tests.NOT_SHOWN, ""),
        ({"a": ArmTotals(3000, 60), "b": ArmTotals(1000, 21)}, ab_tests.NO_REVENUE, ""),
        ({"a": clicked(3000, 60)}, ab_tests.ONE_ARM, ""),
    ],
    ids=["decided", "open", "too few impressions", "never shown", "no revenue", "one arm"],
)
def test_a_test_says_how_far_it_has_come(seen: dict[str, ArmTotals], status: str, winner: str) -> None:
    (row,) = rows(**seen)
    assert (row["test_status"], row["winning_model_id"]) == (status, winner)
    assert (row["winner_determined_at"] == RUN.run_at) == bool(winner)


def test_a_test_is_decided_by_its_own_two_arms_whichever_is_the_best_of_the_context() -> None:
    found = rows(
        a=clicked(3000, 60), b=clicked(1000, 5), c=clicked(1000, 200), d=clicked(1000, 21), e=clicked(1000, 60)
    )
    assert {row["model_b_id"]: (row["test_status"], row["winning_model_id"]) for row in found} == {
        "b": (ab_tests.DECIDED, "a"),
        "c": (ab_tests.DECIDED, "c"),
        "d": (ab_tests.RUNNING, ""),
        "e": (ab_tests.DECIDED, "e"),
    }


def test_a_test_is_decided_though_two_other_arms_are_level() -> None:
    # Neither b nor c is surely the best arm, and each surely earns more than a.
    found = rows(a=clicked(3000, 60), b=clicked(1000, 100), c=clicked(1000, 100))
    assert [(row["test_status"], row["winning_model_id"]) for row in found] == [
        (ab_tests.DECIDED, "b"),
        (ab_tests.DECIDED, "c"),
    ]


def test_two_arms_without_revenue_are_no_test_beside_one_that_earns() -> None:
    found = rows(a=ArmTotals(3000, 60), b=ArmTotals(1000, 60), c=clicked(1000, 100))
    assert [(row["test_status"], row["winning_model_id"]) for row in found] == [
        (ab_tests.NO_REVENUE, ""),
        (ab_tests.DECIDED, "c"),
    ]
