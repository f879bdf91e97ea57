"""Test that a score is published only inside the range of its label's kind, on whole runs without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from raypipe.artifact import files
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.errors import DataError, GateRefused
from raypipe.fit import labelled, training_table
from raypipe.fit.recipe import Recipe, frozen, recipe_of
from raypipe.models.protocol import FitSpec, load_matrix_family
from raypipe.models.xgboost import XGBoost
from raypipe.registry import aliases, models
from raypipe.registry.record import ModelRecord, Registered
from raypipe.score import gate, worker
from tests.conftest import FittedPublisher, _fresh_database
from tests.faults.oracle import assert_nothing_left, in_process, loaded, planned
from tests.integration.conftest import CATEGORIES

pytestmark = pytest.mark.fast

# The training, the test and the scored snapshot: 30 days apart, which is the horizon of churn.
DAYS = (date(2025, 12, 2), date(2026, 1, 1), date(2026, 1, 31))
READERS = 600
AT = datetime(2026, 2, 1, tzinfo=UTC)
TARGETS = ("customer_churn_predictions", "ml_model_predictions")
# A reader who was away longer churns more often, with noise that a regression follows beyond 0 and 1.
CHURNS = "(number * 7919) % 29 + cityHash64(number) % 12 > 20"


@pytest.fixture(scope="module")
def unfitted(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FittedPublisher]:
    """All tables, and three snapshots of readers with the sessions that decide their labels."""
    words = ", ".join(f"['a', 'b', 'c'][(number + {seed}) % 3 + 1]" for seed in range(CATEGORIES.count(",") + 1))
    with _fresh_database(endpoint) as place, Client(place) as client:
        migrate(client)
        client.run(
            "INSERT INTO customer_user_features (user_feature_id, user_id, company_id, brand_id, feature_date,"
            " total_sessions, days_active, days_since_last_session, active_last_30_days, first_session_date,"
            f" {CATEGORIES})"
            " SELECT toString(number), concat('u', toString(number)), 'c', 'b', arrayJoin({days:Array(Date)}),"
            f" number % 40 + 1, number % 20 + 1, (number * 7919) % 29, 1, toDate('2025-10-01'), {words}"
            f" FROM numbers({READERS})",
            {"days": list(DAYS)},
        )
        client.run(
            "INSERT INTO customer_sessions (session_id, user_id, company_id, brand_id, session_start)"
            " SELECT toString(number), concat('u', toString(number)), 'c', 'b',"
            " toDateTime(arrayJoin({days:Array(Date)}) + 5, 'UTC')"
            f" FROM numbers({READERS}) WHERE NOT {CHURNS}",
            {"days": list(DAYS)},
        )
        yield FittedPublisher(place, tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def versions(unfitted: FittedPublisher) -> dict[str, Registered]:
    """Fit churn without parameters: as it is, and as if its label were a number, with scores beyond 0 and 1."""
    by_kind = labelled.fit_spec

    def as_number(*given: Any) -> FitSpec:
        return replace(by_kind(*given), kind="number")

    with pytest.MonkeyPatch.context() as patch, Client(unfitted.endpoint) as client:
        patch.setattr(labelled, "_train", train)
        probable = fit(client, unfitted, "probable")
        patch.setattr(labelled, "fit_spec", as_number)
        return {"probable": probable, "regressing": fit(client, unfitted, "regressing")}


def train(
    client: Client, recipe: Recipe, contract: Any, table: Any, rows: Any, progress: Any
) -> tuple[dict[str, bytes], Any]:
    """Train in this process instead of on Ray; everything around that is the pipeline's own."""
    parts = {name: training_table.read_part(client, table, name) for name in table.rows}
    spec = labelled.fit_spec(recipe, contract)
    model, history = load_matrix_family(recipe.family).fit(parts["train"], parts["validation"], spec)
    return model.files(), history


def recipe(client: Client, publisher: FittedPublisher) -> Recipe:
    """Return the recipe of churn with `model.params: {}`, which leaves the objective to the kind of the label."""
    config = loaded(publisher, "evaluate.bootstrap=0", "model.early_stopping_rounds=0", "model.rounds=60")
    model = config.config.model.model_copy(update={"params": {}})
    return recipe_of(client, replace(config, config=config.config.model_copy(update={"model": model})), None)


def fit(client: Client, publisher: FittedPublisher, name: str) -> Registered:
    """Fit and register a version of churn."""
    fitted = labelled.fit_version(client, recipe(client, publisher), f"raypipe_training_{name}", None, lambda *_: None)
    artifact = files.save(str(publisher.artifacts), fitted.files)
    record = ModelRecord(
        "churn",
        f"20260131.000000.{name}",
        "CANDIDATE",
        "classification",
        XGBoost.framework,
        XGBoost.algorithm,
        XGBoost.format,
        AT,
        artifact_uri=artifact.uri,
        artifact_sha256=artifact.sha256,
        contract_sha256=fitted.package.contract.sha256,
    )
    return models.set_status(client, models.register(client, record, AT), "PRODUCTION", AT)


@pytest.fixture
def client(unfitted: FittedPublisher) -> Iterator[Client]:
    """Return a client; targets and ledger are emptied afterwards."""
    with Client(unfitted.endpoint) as connected:
        yield connected
        for table in (*TARGETS, "raypipe_runs", "raypipe_slices", "raypipe_rejected_rows"):
            connected.run(f"TRUNCATE TABLE {table}")


@pytest.fixture
def publisher(client: Client, unfitted: FittedPublisher, versions: dict[str, Registered]) -> FittedPublisher:
    """The champion gives probabilities."""
    aliases.move(client, "churn", {aliases.CHAMPION: versions["probable"]}, "by a test", "a test", datetime.now(UTC))
    return unfitted


@pytest.fixture
def regressing(client: Client, unfitted: FittedPublisher, versions: dict[str, Registered]) -> FittedPublisher:
    """The champion regresses, and its scores lie on both sides of 0 to 1."""
    aliases.move(client, "churn", {aliases.CHAMPION: versions["regressing"]}, "by a test", "a test", datetime.now(UTC))
    return unfitted


def published(client: Client) -> tuple[int, float, float, float]:
    """Return the published rows, the lowest and the highest probability, and the highest confidence."""
    ((rows, low, high, confidence),) = client.rows(
        "SELECT count(), min(prediction_probability), max(prediction_probability), max(prediction_confidence)"
        " FROM ml_model_predictions"
    )
    return rows, low, high, confidence


def everything(scores: Any, score_range: Any) -> Any:
    return np.isfinite(scores)


def test_a_binary_label_without_an_objective_gets_probabilities(client: Client, publisher: FittedPublisher) -> None:
    in_process(publisher, planned(publisher, DAYS[-1]))
    rows, low, high, confidence = published(client)
    assert rows == READERS
    assert 0 <= low < 0.3
    assert 0.7 < high <= confidence <= 1
    assert_nothing_left(client)


def test_a_model_whose_scores_are_no_probabilities_publishes_nothing(
    client: Client, regressing: FittedPublisher
) -> None:
    manifest = planned(regressing, DAYS[-1])
    assert manifest.score_range == (0.0, 1.0)
    with pytest.raises(GateRefused, match="too many rows"):
        in_process(regressing, manifest)
    assert published(client)[0] == 0
    reasons = client.rows("SELECT DISTINCT reason FROM raypipe_counted_rejections")
    assert reasons == [("the score is outside the range of its kind, 0 to 1",)]


def test_the_rows_outside_are_rejected_and_counted_and_the_others_published(
    client: Client, regressing: FittedPublisher
) -> None:
    manifest = planned(regressing, DAYS[-1], "score.max_rejected=1.0")
    in_process(regressing, manifest)
    rows, low, high, _ = published(client)
    assert 0 <= low < high <= 1
    rejected = client.rows("SELECT toFloat64(value) FROM raypipe_counted_rejections")
    assert rows + len(rejected) == READERS
    assert all(not 0 <= value <= 1 for (value,) in rejected)
    assert {value > 1 for (value,) in rejected} == {True, False}


@pytest.mark.parametrize("direct", [True, False], ids=["as they get their shape", "at the gate"])
def test_the_server_looks_at_the_scores_again(
    client: Client, regressing: FittedPublisher, monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    monkeypatch.setattr(worker, "_in_range", everything)
    manifest = replace(planned(regressing, DAYS[-1]), direct=direct)
    with pytest.raises(GateRefused, match="outside the range of their kind") as refused:
        in_process(regressing, manifest)
    assert refused.value.allowed == "0 to 1"
    assert published(client)[0] == 0


def test_without_the_two_looks_scores_that_are_no_probabilities_are_published(
    client: Client, regressing: FittedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_in_range", everything)
    monkeypatch.setattr(gate, "_within_range", lambda *_: None)
    in_process(regressing, replace(planned(regressing, DAYS[-1]), direct=False))
    rows, low, high, confidence = published(client)
    assert rows == READERS
    assert low < 0
    assert high > 1
    assert confidence > 1


def test_a_label_outside_of_its_range_ends_the_fit(client: Client, unfitted: FittedPublisher) -> None:
    with pytest.raises(DataError, match=r"label\.range") as refused:
        write(client, replace(recipe(client, unfitted), label_kind="number", score_range=(0.0, 0.9)))
    assert (refused.value.found, refused.value.allowed) == ("0 to 1", "0 to 0.9")


def test_labels_at_the_ends_of_the_range_are_inside(client: Client, unfitted: FittedPublisher) -> None:
    binary = replace(recipe(client, unfitted), label_kind="number", score_range=(0.0, 1.0))
    assert set(write(client, binary)) == {0.0, 1.0}


def write(client: Client, known: Recipe) -> list[float]:
    """Write the training table of a recipe, drop it, and return the labels of its training rows."""
    with training_table.written(client, known, frozen(client, known), "raypipe_training_range") as table:
        labels: list[float] = training_table.read_part(client, table, "train").y.tolist()
        return labels
