"""Test `model: auto` on a real Ray: a search of some minutes, and the fit that follows."""

from __future__ import annotations

import json

import pytest

from raypipe.clickhouse.client import Client
from raypipe.sweep import auto
from tests.integration.sweep.test_sweep import Publisher, filled, silent  # noqa: F401 - a fixture


@pytest.mark.usefixtures("ray_session")
def test_a_fit_that_searches_first_takes_the_better_settings_and_says_so(filled: Publisher) -> None:  # noqa: F811
    loaded = filled.loaded(
        "model.search_minutes=2",
        "sweep.trials=2",
        "sweep.space=",
        "sweep.space={model.params.eta: {choice: [0.0001, 0.1]}}",
    )
    result = auto.fit(filled.endpoint, loaded, None, silent)
    assert "prefers eta=0.1: auc" in result.fitted.warnings[-1]
    with Client(filled.endpoint) as client:
        parameters = client.value(
            "SELECT hyperparameters FROM ml_model_training_runs FINAL WHERE model_id = {id:String}",
            {"id": result.version.model_id},
        )
    assert json.loads(parameters)["eta"] == 0.1
