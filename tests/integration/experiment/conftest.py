"""Provide experiments over tables of the test's own database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from raypipe.clickhouse.client import Client
from raypipe.config.load_experiment import LoadedExperiment, load_experiment
from raypipe.experiment.abtest import abtest
from raypipe.progress import silent

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
ARMS = [{"name": "control", "share": 0.5}, {"name": "treatment", "share": 0.5}]
MEAN = {"name": "orders", "kind": "mean", "value": "orders"}


def written(folder: Path, name: str = "headline", **config: Any) -> LoadedExperiment:
    """Write an experiment's config into a project folder, and load it."""
    known = {"table": "visits", "unit": ["user_id"], "arm": "arm", "arms": ARMS, "metrics": [MEAN], **config}
    path = folder / "configs" / "experiments" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = {key: value for key, value in known.items() if value is not None}
    path.write_text(yaml.safe_dump(stated, sort_keys=False), encoding="utf-8")
    return load_experiment(name, folder / "configs", environ={})


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., LoadedExperiment]:
    """Write and load experiments over the table `visits`."""
    return lambda **config: written(tmp_path, **config)


@pytest.fixture
def analysed(client: Client, experiment: Callable[..., LoadedExperiment]) -> Callable[..., Any]:
    """Analyse an experiment without saving it."""

    def run(until: date | None = None, **config: Any) -> Any:
        return abtest(client, experiment(**config), until, NOW, silent, save=False)

    return run
