"""Test the errors of repeated challenges, alone and in simulated histories of 90 nights."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.promotions import FRESH, Case, promoted_on
from raypipe.evaluation import decision
from raypipe.evaluation.challenges import ALPHA, error_of


def test_the_errors_of_ninety_nights_together_stay_below_five_percent() -> None:
    errors = [error_of(challenge) for challenge in range(1, 91)]
    assert errors[0] == ALPHA / 2
    assert sum(errors) == pytest.approx(0.0328, abs=1e-4)
    assert errors == sorted(errors, reverse=True)


def test_a_champion_of_many_months_can_still_be_replaced() -> None:
    assert error_of(10_000) == error_of(14) == ALPHA / 200


# Few rows and nights, so that a case takes a second; `python benchmarks/promotions.py` states the rates.
NIGHTS, ROWS, HISTORIES = 20, 200, 25


def rate(case: Case, histories: int = HISTORIES) -> float:
    return float(np.mean([promoted_on(case, seed) > 0 for seed in range(histories)]))


def test_versions_that_are_no_better_do_not_take_over_within_many_nights(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = Case(first=False, nights=NIGHTS, rows=ROWS, renewed=FRESH)
    assert rate(equal) <= 0.08
    # Without the correction, every night errs anew.
    monkeypatch.setattr("benchmarks.promotions.error_of", lambda challenge: ALPHA)
    assert rate(equal) > 0.2


def test_a_first_version_that_is_no_better_than_a_baseline_is_provisional(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = Case(first=True, nights=1, rows=ROWS)
    assert rate(equal, 4 * HISTORIES) <= 0.08
    monkeypatch.setattr(decision.metrics, "normal_interval", lambda difference, gains, error: (difference, difference))
    assert rate(equal, 4 * HISTORIES) > 0.3


def test_a_truly_better_version_takes_over() -> None:
    assert rate(Case(first=False, nights=NIGHTS, rows=1_000, noise=0.3)) > 0.8
    assert rate(Case(first=True, nights=1, rows=1_000, noise=0.3)) > 0.8
