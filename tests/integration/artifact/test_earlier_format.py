"""An artifact of the earlier format is refused by name by every command that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from raypipe.artifact import files
from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.config.load import Loaded, load_pipeline
from raypipe.errors import ModelError
from raypipe.fit import rivals
from raypipe.registry import aliases, models
from raypipe.registry.record import ModelRecord, Registered
from raypipe.score import plan, prepare, runs, score
from raypipe.versions import promotion, rollback
from tests.artifacts import as_format_1
from tests.integration.conftest import RegisteredModel

EARLIER = "20260101.000000.earlier"
AT = datetime(2026, 2, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(registered_model: RegisteredModel) -> Iterator[Client]:
    with Client(registered_model.endpoint) as client:
        yield client


@pytest.fixture(scope="module")
def loaded(registered_model: RegisteredModel) -> Loaded:
    return load_pipeline(
        "churn", registered_model.project / "configs", (f"artifacts={registered_model.artifacts}",), environ={}
    )


@pytest.fixture(scope="module")
def earlier(client: Client, registered_model: RegisteredModel) -> Registered:
    """The previous version, whose artifact has the earlier format."""
    artifact = registered_model.artifact
    old = as_format_1(files.load(str(artifact), artifact.name), registered_model.artifacts)
    record = ModelRecord(
        "churn",
        EARLIER,
        "CANDIDATE",
        "classification",
        "xgboost",
        "gradient boosted trees",
        "ubj",
        AT,
        artifact_uri=old.uri,
        artifact_sha256=old.sha256,
    )
    model = models.register(client, record, AT)
    aliases.move(client, "churn", {aliases.PREVIOUS: model}, "fitted before", "a test", AT)
    return model


def silent(*_: object) -> None:
    """Ignore the progress."""


def refused(model: Registered, act: Callable[[], Any]) -> None:
    with pytest.raises(ModelError) as caught:
        act()
    error = caught.value
    assert error.problem == f"The artifact of churn {EARLIER} was written by another version of raypipe"
    assert error.found == f"format 1, model class raypipe.models.kmeans:KMeans, in {model.artifact_uri}"
    assert "`raypipe fit churn`" in str(error)


def test_score_and_plan_refuse_it(registered_model: RegisteredModel, loaded: Loaded, earlier: Registered) -> None:
    place = registered_model.endpoint
    refused(earlier, lambda: score.score(place, loaded, None, EARLIER, silent))
    refused(earlier, lambda: plan.plan(place, loaded, None, EARLIER))


def test_resume_refuses_it_before_ray_starts(
    client: Client, registered_model: RegisteredModel, loaded: Loaded, earlier: Registered
) -> None:
    readable = models.find(client, "churn", registered_model.version)
    card = load_card(readable.artifact_uri, readable.artifact_sha256, client)
    population = prepare.population(client, loaded, None)
    manifest = prepare.manifest(client, loaded, earlier, card, population, write=False)
    runs.save(client, runs.opened(manifest, "a process that died", 1), 1)
    refused(earlier, lambda: score.resume(registered_model.endpoint, loaded, manifest.run_id, silent))


def test_promote_and_rollback_refuse_it(registered_model: RegisteredModel, loaded: Loaded, earlier: Registered) -> None:
    place = registered_model.endpoint
    decided: dict[str, Any] = {"reason": "a test", "set_by": "a test", "if_better": False, "changed_contract": False}
    refused(earlier, lambda: promotion.promote(place, loaded, EARLIER, **decided))
    refused(earlier, lambda: rollback.rollback(place, loaded, silent, reason="a test", set_by="a test"))


def test_a_fit_takes_the_place_of_a_champion_that_can_score_nothing_any_more(
    client: Client, earlier: Registered
) -> None:
    anything: Any = None
    assert rivals._champion_scores(client, anything, anything, earlier) == (None, None)


def test_a_champion_whose_artifact_is_damaged_holds_a_fit_back(client: Client, earlier: Registered) -> None:
    anything: Any = None
    scores, doubt = rivals._champion_scores(client, anything, anything, replace(earlier, artifact_uri="/nowhere"))
    assert scores is None
    assert "could not be compared" in str(doubt)
