"""Test `parameters` in a config: features.sql binds them, and a version keeps those of its fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.config.load import Loaded, load_pipeline
from raypipe.errors import ConfigError
from raypipe.fit import recipe as recipes
from raypipe.registry import models
from raypipe.score import prepare
from tests.integration.conftest import RegisteredModel


@pytest.fixture
def client(registered_model: RegisteredModel) -> Iterator[Client]:
    with Client(registered_model.endpoint) as connected:
        yield connected


@pytest.fixture
def project(registered_model: RegisteredModel, tmp_path: Path) -> Path:
    """The project with a features query that binds the most sessions of a user."""
    shutil.copytree(registered_model.project, tmp_path / "project")
    path = tmp_path / "project" / "sql" / "churn" / "features.sql"
    path.write_text(path.read_text().replace("AND {slice}", "AND total_sessions <= {most:UInt32} AND {slice}"))
    return tmp_path / "project" / "configs"


def churn(project: Path, *overrides: str) -> Loaded:
    return load_pipeline("churn", project, overrides, environ={})


def test_a_run_binds_what_the_version_was_fitted_with_whatever_the_config_says_by_now(
    client: Client, project: Path
) -> None:
    loaded = churn(project, "parameters.most=1")
    model = models.find(client, "churn", "champion")
    card = load_card(model.artifact_uri, model.artifact_sha256, client)
    people = prepare.population(client, loaded, None)
    counted = client.rows(
        "SELECT countIf(total_sessions <= 20), count() FROM customer_user_features"
        " WHERE feature_date = {day:Date} AND active_last_30_days = 1",
        {"day": people.date},
    )[0]
    assert 0 < counted[0] < counted[1]
    fitted = replace(card, contract=replace(card.contract, parameters={"most": 20}))
    manifest = prepare.manifest(client, loaded, model, fitted, people, write=False)
    assert manifest.source_rows == counted[0]
    assert manifest.select_parameters == {"most": 20, "date": people.date, "until": people.date, "timezone": "UTC"}


def test_a_parameter_that_the_sql_does_not_bind_is_refused(client: Client, project: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not bind a parameter") as caught:
        recipes.recipe_of(client, churn(project, "parameters.most=1", "parameters.least=1"), None)
    assert caught.value.found == "least"
