"""Test the config of an experiment: a rule that is broken is named with its line."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from raypipe.config.experiment import Arm, ExperimentConfig, Exposure, Looks, Metric, Models, Period, Policy
from raypipe.config.load import list_pipelines
from raypipe.config.load_experiment import LoadedExperiment, list_experiments, load_experiment
from raypipe.errors import ConfigError, UsageError
from raypipe.project import shipped

ARMS = [{"name": "long", "share": 0.5}, {"name": "short", "share": 0.5}]
METRIC = {"name": "returned", "kind": "proportion", "value": "returned"}
HEADLINE: dict[str, Any] = {"table": "visits", "unit": ["user_id"], "arm": "variant", "arms": ARMS, "metrics": [METRIC]}
EXPOSURE = {"time": "at", "since": "2026-01-11", "until": "2026-01-30"}
POLICY = {"action": "offer", "propensity": "p", "reward": "revenue", "shares": ARMS}


@pytest.fixture
def experiment(configs: Path) -> Callable[..., LoadedExperiment]:
    """Loads an experiment as the test has changed it; None removes a key."""

    def loaded(**changes: Any) -> LoadedExperiment:
        document = {key: value for key, value in {**HEADLINE, **changes}.items() if value is not None}
        (configs / "experiments").mkdir(exist_ok=True)
        (configs / "experiments" / "headline.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        return load_experiment("headline", configs, environ={})

    return loaded


def test_an_experiment_is_no_pipeline(experiment: Callable[..., Any], configs: Path) -> None:
    experiment()
    assert (list_pipelines(configs), list_experiments(configs)) == (["visits"], ["headline"])


def test_days_are_dates_and_the_time_zone_is_the_projects(experiment: Callable[..., Any], configs: Path) -> None:
    (configs / "base.yaml").write_text("timezone: Europe/Helsinki\n")
    loaded = experiment(exposure=EXPOSURE)
    assert loaded.config.exposure.since == date(2026, 1, 11)
    assert loaded.shared.timezone == "Europe/Helsinki"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"table": None}, "reads a table or a file\n      found: neither"),
        ({"sql": "experiments/headline.sql"}, "reads a table or a file\n      found: both"),
        ({"unit": None}, "unit is required"),
        ({"arms": ARMS[:1]}, "arms needs two arms\n      found: 1"),
        ({"arms": [ARMS[0], {"name": "short", "share": 0.4}]}, "arms has shares that do not add up\n      found: 0.9"),
        ({"arms": [ARMS[0], ARMS[0]]}, "arms repeats a name\n      found: long"),
        ({"salt": "s"}, "takes the arm from a column or from the salt\n      found: both"),
        ({"arm": None}, "takes the arm from a column or from the salt\n      found: neither"),
        ({"metrics": None}, "metrics is required"),
        ({"metrics": [METRIC, METRIC]}, "metrics repeats a name\n      found: returned"),
        ({"metrics": [{**METRIC, "value": None}]}, "metrics.0 is a proportion\n      found: with nothing"),
        ({"metrics": [{**METRIC, "kind": "ratio"}]}, "allowed: with numerator and denominator"),
        ({"metrics": [{**METRIC, "value": "returned; DROP"}]}, "metrics.0.value is not an SQL expression"),
        ({"metrics": [{**METRIC, "valu": "x"}]}, "metrics.0.valu is an unknown key; did you mean value?"),
        ({"exposure": {**EXPOSURE, "since": "yesterday"}}, "exposure.since is not a date\n      found: 'yesterday'"),
        ({"exposure": {**EXPOSURE, "until": "2026-01-01"}}, "until is before `since`"),
        ({"score": "churn"}, "exposure is required"),
        (
            {"exposure": EXPOSURE, "score": "churn", "pre_period": {"since": "2026-01-01", "until": "2026-01-02"}},
            "second",
        ),
        (
            {"exposure": EXPOSURE, "pre_period": {"since": "2026-01-01", "until": "2026-01-11"}},
            "pre_period.until is not older than the exposure\n      found: 2026-01-11",
        ),
        ({"policy": POLICY}, "arms has no effect beside `policy`"),
        ({"models": {"pipeline": "churn"}}, "arms has no effect beside `models`"),
        ({"policy": {**POLICY, "table": "chosen"}}, "policy is stated by `shares` or by `table`\n      found: both"),
    ],
)
def test_a_broken_rule_is_named(experiment: Callable[..., Any], changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        experiment(**changes)
    assert problem in str(refusal.value)
    assert "configs/experiments/headline.yaml" in str(refusal.value)
    assert refusal.value.next_step == "correct the places named; docs/experiments.md describes every key"


def test_an_experiment_that_does_not_exist_is_named_with_the_nearest(
    experiment: Callable[..., Any], configs: Path
) -> None:
    experiment()
    with pytest.raises(UsageError, match="no experiment 'headlin'") as refusal:
        load_experiment("headlin", configs, environ={})
    assert refusal.value.next_step == "did you mean headline?"


@pytest.mark.parametrize("name", list_experiments(shipped() / "configs"))
def test_the_shipped_experiments_load(name: str) -> None:
    assert load_experiment(name, shipped() / "configs", environ={}).config.description


def test_the_page_of_experiments_describes_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs" / "experiments.md").read_text(encoding="utf-8")
    sections = (ExperimentConfig, Arm, Exposure, Period, Metric, Looks, Policy, Models)
    keys = {key for section in sections for key in section.model_fields}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", page)] == []
