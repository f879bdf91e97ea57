"""Test how a comparison is stored, ordered and judged."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from raypipe.compare.candidates import _rules
from raypipe.compare.compare import require_complete
from raypipe.compare.comparison import Compared, Comparison, clear_gains, ranked
from raypipe.errors import ModelError
from raypipe.evaluation.baselines import Baseline
from raypipe.fit.rivals import Rivals


def _metric(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None, "high": None}


def _line(name: str, auc: float, low: float | None = None) -> Compared:
    gained = {"value": 0.1, "low": low, "high": 0.2}
    return Compared(name, "model", f"1.{name}", name, {"auc": _metric(auc), "log_loss": _metric(1 - auc)}, gained, 2.5)


BROKEN = Compared("broken", "model", error="The fit failed\n  found: nothing")
COMPARISON = Comparison(
    "baselines",
    "churn",
    "20260101.x",
    "auc",
    date(2026, 1, 1),
    {"train": 60, "validation": 15, "test": 25},
    True,
    (_line("forest", 0.8), BROKEN),
    ("something",),
    9.5,
)


def test_a_comparison_comes_back_as_it_was_stored() -> None:
    document = json.loads(json.dumps(COMPARISON.to_json()))
    assert document["failed"] == ["broken"]
    assert Comparison.from_json(document) == COMPARISON


@pytest.mark.parametrize(("metric", "order"), [("auc", ["b", "a", "broken"]), ("log_loss", ["b", "a", "broken"])])
def test_the_best_comes_first_and_what_failed_last(metric: str, order: list[str]) -> None:
    lines = [BROKEN, _line("a", 0.6), _line("b", 0.8)]
    assert [line.name for line in ranked(lines, metric)] == order


def test_only_a_gain_above_the_noise_is_told() -> None:
    lines = [_line("noise", 0.8, -0.01), _line("none", 0.8, 0.0), _line("better", 0.8, 0.01), _line("unknown", 0.8)]
    assert clear_gains(lines) == ["better beats the champion by more than noise"]


def test_a_comparison_with_a_model_that_failed_is_not_whole() -> None:
    assert require_complete(replace(COMPARISON, models=COMPARISON.models[:1])) == 1
    with pytest.raises(ModelError, match=r"1 of the models of baselines could not be fitted\n.*broken: The fit failed"):
        require_complete(COMPARISON)


def test_a_rule_that_could_not_be_fitted_is_left_out() -> None:
    unfitted = Baseline("persistence", "as gone: not fitted", None, {})
    rivals = Rivals(None, {}, {}, {"persistence": unfitted}, None, 0.025, (), ())  # type: ignore[arg-type]
    assert _rules(rivals) == []
