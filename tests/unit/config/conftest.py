from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from raypipe.config import Loaded, load_pipeline

PIPELINE: dict[str, Any] = {
    "pipeline": "visits",
    "entity": {"type": "user", "keys": ["brand_id", "user_id"], "id": "user_id"},
    "source": {"table": "user_days", "date_column": "day"},
    "label": {"horizon_days": 7},
    "features": ["sessions", {"name": "tier", "kind": "category"}],
    "levels": [{"name": "low", "below": 0.5}, {"name": "high", "below": 1.01}],
    "publish": [{"target": "ml_model_predictions", "sql": "shared/predictions.sql"}],
}


@pytest.fixture
def pipeline() -> dict[str, Any]:
    """The smallest pipeline with one of everything, for a test to change."""
    return copy.deepcopy(PIPELINE)


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: dict[str, Any]) -> Path:
    """A project's `configs` folder with that pipeline, seen from the project's folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "visits.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return folder


@pytest.fixture
def load(configs: Path, pipeline: dict[str, Any]) -> Callable[..., Loaded]:
    """Loads the pipeline as the test has changed it, without the environment of the machine."""

    def loaded(*overrides: str, environ: dict[str, str] | None = None, url: str | None = None) -> Loaded:
        (configs / "visits.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
        return load_pipeline("visits", configs, overrides, environ or {}, url)

    return loaded
