"""A comparison of models on a terminal and in JSON."""

from __future__ import annotations

import re
from datetime import date

import pytest
import typer

from raypipe.cli import comparisons
from raypipe.cli.options import Options
from raypipe.compare.comparison import Compared, Comparison

FOREST = Compared(
    "forest",
    "model",
    metrics={
        "brier": {"value": 0.2, "low": 0.1, "high": 0.3},
        "log_loss": {"value": None, "low": None, "high": None},
        "auc": {"value": 0.81234, "low": 0.8, "high": 0.82},
    },
    difference={"value": -0.0123, "low": -0.02, "high": 0.001},
    seconds=12.34,
)
BROKEN = Compared("broken", "model", seconds=1.0, error="it has no leaves")


def _of(*models: Compared, warnings: tuple[str, ...] = ()) -> Comparison:
    rows = {"train": 6000, "validation": 1500, "test": 2500}
    return Comparison("baselines", "churn", "v1", "auc", date(2026, 1, 1), rows, True, models, warnings, 20.0)


def test_a_line_has_its_metrics_in_order_its_seconds_and_what_it_gains(capsys: pytest.CaptureFixture[str]) -> None:
    comparisons.show(Options(), _of(FOREST, warnings=("look [at] this",)))
    printed = capsys.readouterr().out
    assert "baselines of churn: champion v1, fitted on 6,000 rows, tested on 2,500 rows of 2026-01-01" in printed
    line = next(line for line in printed.splitlines() if "forest" in line)
    cells = [cell.strip() for cell in re.split("[│|]", line)[1:-1]]
    assert cells == ["forest", "0.8123 [0.8000, 0.8200]", "–", "0.2000", "12.3", "-0.0123 [-0.0200, +0.0010]"]
    assert "warning: look [at] this" in printed


def test_a_model_that_failed_has_its_line_its_error_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        comparisons.show(Options(), _of(FOREST, BROKEN))
    assert ended.value.exit_code == 1
    printed = capsys.readouterr()
    assert re.search(r"broken\W+failed", printed.out)
    assert "error: broken could not be fitted: it has no leaves" in printed.err


def test_a_comparison_of_nothing_but_failures_is_a_table_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        comparisons.show(Options(), _of(BROKEN))
    assert re.search(r"broken\W+failed", capsys.readouterr().out)


def test_the_version_of_a_model_has_the_name_that_it_has_in_every_document() -> None:
    (model,) = comparisons.document(_of(BROKEN))["models"]
    assert "model_version" in model
    assert "version" not in model
