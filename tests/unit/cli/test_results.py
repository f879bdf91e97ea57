"""The tables of the commands that fit, score and publish."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raypipe.cli.failures import tolerated
from raypipe.cli.fit import print_fit
from raypipe.cli.metrics import cell
from raypipe.cli.score import score_document
from raypipe.data.split import Dates
from raypipe.errors import Unreachable
from raypipe.evaluation.decision import Decision
from raypipe.registry.record import CANDIDATE, Registered
from raypipe.score import runs

AT = datetime(2026, 1, 31, 3, tzinfo=UTC)
AUC = {"value": 0.81234, "low": 0.8, "high": 0.82}
BRIER = {"value": 0.2, "low": 0.1, "high": 0.3}


def fit(test: dict[str, Any], baselines: dict[str, Any]) -> Any:
    """A fit's outcome, as far as it is printed."""
    version = Registered("churn", "v1", "id", CANDIDATE, "", "", "", False, True, AT, AT, {}, {})
    decision = Decision(False, "no better than before", "auc")
    fitted = SimpleNamespace(
        test=test, validation={}, baselines=baselines, decision=decision, warnings=("look [here]",)
    )
    dates = Dates((date(2025, 12, 1),), date(2026, 1, 1), "the newest")
    return cast(Any, SimpleNamespace(version=version, fitted=fitted, dates=dates, read_as_now=("accounts",)))


def cells(printed: str, name: str) -> list[str]:
    line = next(line for line in printed.splitlines() if name in line)
    return [part.strip() for part in re.split("[│┃|]", line)[1:-1]]


def test_every_value_stands_below_the_name_of_its_metric(capsys: pytest.CaptureFixture[str]) -> None:
    baselines = {"prior": {"brier": BRIER}, "one_feature": {"auc": AUC, "log_loss": BRIER, "brier": BRIER}}
    print_fit(fit({"auc": AUC, "brier": BRIER, "f1": 0.5, "rows": 10}, baselines))
    printed = capsys.readouterr().out
    assert cells(printed, "brier") == ["", "auc", "brier"]
    assert cells(printed, "model (test)") == ["model (test)", "0.8123 [0.8000, 0.8200]", "0.2000"]
    assert cells(printed, "baseline: prior") == ["baseline: prior", "–", "0.2000"]
    assert cells(printed, "baseline: one_feature") == ["baseline: one_feature", "0.8123 [0.8000, 0.8200]", "0.2000"]
    assert "fitted on 2025-12-01 (the newest), tested on 2026-01-01" in printed
    assert "read as of now, also for past dates: accounts (docs/lifecycle.md, Point in time)" in printed
    assert "no better than before" in printed
    assert "warning: look [here]" in printed


@pytest.mark.parametrize(
    ("metric", "options", "shown"),
    [
        (None, {}, "–"),
        ({}, {}, "–"),
        ({"value": None, "low": None, "high": None}, {}, "–"),
        ({"value": 0.5}, {}, "0.5000"),
        ({"value": 0.5, "low": None, "high": None}, {}, "0.5000"),
        (AUC, {}, "0.8123 [0.8000, 0.8200]"),
        (AUC, {"interval": False}, "0.8123"),
        (AUC, {"digits": "+.2f"}, "+0.81 [+0.80, +0.82]"),
    ],
)
def test_a_metric_is_shown_as_far_as_it_is_known(metric: Any, options: dict[str, Any], shown: str) -> None:
    assert cell(metric, **options) == shown


def test_a_question_without_an_answer_does_not_fail_a_run_that_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    with tolerated():
        raise Unreachable("Nothing answers", next_step="look")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        "",
        "the run is published, but its summary is incomplete: Nothing answers\n",
    )


def test_a_bug_in_the_printing_is_not_hidden() -> None:
    with pytest.raises(KeyError), tolerated():
        raise KeyError("x")


def test_rows_per_second_are_those_of_the_scoring_and_not_of_the_fit_before_it() -> None:
    run = runs.Run(*["x"] * 2, AT.date(), *["x"] * 6, "{}", 1, 1, 1, rows_published=500)
    scored = cast(
        Any,
        SimpleNamespace(outcome=SimpleNamespace(run=run, peak_mb={}, receipts=[SimpleNamespace(predictor="library")])),
    )
    document = score_document(scored, seconds=100.0, scoring_seconds=10.0)
    assert (document["seconds"], document["rows_per_second"]) == (100.0, 50.0)
    assert score_document(scored, seconds=100.0)["rows_per_second"] == 5.0
