"""Test which days a comparison reads, and which stored comparisons are shown again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, cast

import pytest

from raypipe.compare.candidates import Champion
from raypipe.compare.compare import _complete, _last_day
from raypipe.compare.comparison import Compared, Comparison
from raypipe.registry.training_runs import CompletedRun

ITS_FIT = CompletedRun(
    "churn_fit_1", {}, ("f.sql @ 2025-11-02", "f.sql @ 2025-11-02", "f.sql @ 2026-01-01"), (60, 15, 25), {}, 12.0
)


@pytest.mark.parametrize(
    ("wanted", "last"),
    [
        (None, date(2026, 1, 31)),
        (date(2026, 3, 1), date(2026, 1, 31)),
        (date(2026, 1, 30), date(2026, 1, 30)),
    ],
)
def test_the_champions_own_snapshots_are_taken_unless_they_end_too_late(wanted: date | None, last: date) -> None:
    assert _last_day(ITS_FIT, 30, wanted) == last


def test_without_a_champion_the_day_is_the_one_asked_for() -> None:
    assert _last_day(None, 30, date(2026, 1, 5)) == date(2026, 1, 5)
    assert _last_day(None, 30, None) is None


def test_a_table_without_snapshots_has_no_horizon() -> None:
    assert _last_day(ITS_FIT, None, None) == date(2026, 1, 1)


def stored(champion: str = "20260101.1", error: str = "", **changes: Any) -> CompletedRun:
    model = Compared("forest", "model", error=error)
    known = Comparison("baselines", "churn", champion, "auc", date(2026, 1, 1), {}, True, (model,), (), 1.0)
    return replace(ITS_FIT, test_metrics={**known.to_json(), **changes})


CHAMPION = Champion(cast("Any", None), ITS_FIT)


def test_a_whole_comparison_is_shown_again() -> None:
    assert _complete(stored(), CHAMPION) is not None
    assert _complete(stored(champion=""), None) is not None


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(stored(error="no rows"), id="a model failed"),
        pytest.param(stored(champion=""), id="the champion could not be read"),
        pytest.param(stored(test_date="soon"), id="another version wrote a value"),
        pytest.param(replace(ITS_FIT, test_metrics={}), id="another version wrote other fields"),
    ],
)
def test_a_comparison_without_a_part_is_made_again(known: CompletedRun) -> None:
    assert _complete(known, CHAMPION) is None
