from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.errors import ModelError, ServerError, UsageError
from raypipe.evaluation.decision import Decision
from raypipe.fit import registration
from raypipe.registry import aliases, champions, models, training_runs
from raypipe.registry.features import FeatureRecord, record_features
from raypipe.registry.record import ARCHIVED, CANDIDATE, FAILED, PRODUCTION, TRAINING, ModelRecord, Registered, model_id
from raypipe.registry.training_runs import TrainingResult, TrainingRun
from raypipe.versions import retention

AT = datetime(2026, 2, 1, 3, 4, 5, 678_900, tzinfo=UTC)


@pytest.fixture
def registry(client: Client) -> Client:
    migrate(client)
    return client


def _record(version: str = "20260201.030405.abcdef", status: str = CANDIDATE, **more: Any) -> ModelRecord:
    known: dict[str, Any] = {
        "model_type": "classification",
        "framework": "xgboost",
        "algorithm": "gradient boosted trees",
        "format": "ubj",
        "trained_at": AT,
        "artifact_uri": "/artifacts/ab/abc",
        "artifact_sha256": "ab" * 32,
        "contract_sha256": "cd" * 32,
        "evaluation": {"test": {"auc": {"value": 0.8}}},
    }
    return ModelRecord("churn", version, status, **{**known, **more})


def _register(client: Client, version: str, minutes: int = 0, **more: Any) -> Registered:
    return models.register(client, _record(version, **more), AT + timedelta(minutes=minutes))


def test_a_registered_version_is_found_with_what_was_said_of_it(registry: Client) -> None:
    made = models.register(registry, _record(), AT)
    assert models.find(registry, "churn", made.version) == made
    assert (made.model_id, made.status) == (model_id("churn", made.version), CANDIDATE)
    assert (made.artifact_uri, made.artifact_sha256, made.contract_sha256) == (
        "/artifacts/ab/abc",
        "ab" * 32,
        "cd" * 32,
    )
    assert made.evaluation == {"test": {"auc": {"value": 0.8}}}
    assert made.created_at == AT.replace(microsecond=0)
    assert (made.is_latest, made.is_active) == (True, False)


def test_every_column_of_the_registry_is_filled(registry: Client) -> None:
    models.register(registry, _record(training_rows=10**10, training_seconds=1.6), AT)
    row = registry.rows(
        "SELECT model_name, training_dataset_size, training_duration_sec, toUnixTimestamp(training_date),"
        " model_storage_type, performance_metrics FROM ml_model_registry FINAL"
    )[0]
    name = "churn 20260201.030405.abcdef"
    assert row == (name, 2**32 - 1, 2, int(AT.timestamp()), "file", "{}")


def test_numbers_that_json_lacks_become_null(registry: Client) -> None:
    made = models.register(registry, _record(evaluation={"auc": float("nan"), "bins": [float("inf"), 1.0]}), AT)
    assert made.evaluation == {"auc": None, "bins": [None, 1.0]}


def test_only_the_newest_version_is_the_latest(registry: Client) -> None:
    for minute, version in enumerate(("v1", "v2", "v3")):
        _register(registry, version, minute)
    assert {model.version: model.is_latest for model in models.list_models(registry)} == {
        "v3": True,
        "v2": False,
        "v1": False,
    }
    assert models.find(registry, "churn", "latest").version == "v3"


def test_a_version_that_is_not_fitted_is_never_the_latest(registry: Client) -> None:
    _register(registry, "v2", 1, status=TRAINING, artifact_uri="")
    with pytest.raises(UsageError, match="'latest'"):
        models.find(registry, "churn", "latest")
    _register(registry, "v1")
    _register(registry, "v3", 2, status=FAILED, artifact_uri="")
    assert models.find(registry, "churn", "latest").version == "v1"
    assert [model.version for model in models.list_models(registry) if model.is_latest] == ["v1"]
    assert _register(registry, "v2", 3).is_latest


def test_production_archives_the_version_before(registry: Client) -> None:
    first, second = _register(registry, "v1"), _register(registry, "v2", 1)
    models.set_status(registry, first, PRODUCTION, AT)
    promoted = models.set_status(registry, second, PRODUCTION, AT + timedelta(minutes=2))
    assert (promoted.status, promoted.is_active) == (PRODUCTION, True)
    before = models.find(registry, "churn", "v1")
    assert (before.status, before.is_active) == (ARCHIVED, False)
    deployed = registry.value(
        "SELECT toUnixTimestamp(deployed_at) FROM ml_model_registry FINAL WHERE model_version = 'v2'"
    )
    assert deployed == int((AT + timedelta(minutes=2)).timestamp())


def test_another_pipelines_production_is_left_alone(registry: Client) -> None:
    churn = _register(registry, "v1")
    other = models.register(registry, ModelRecord("clicks", "v1", CANDIDATE, "classification", "x", "y", "z", AT), AT)
    models.set_status(registry, churn, PRODUCTION, AT)
    models.set_status(registry, other, PRODUCTION, AT)
    assert models.find(registry, "churn", "v1").status == PRODUCTION
    assert models.find(registry, "clicks", "v1").is_latest


def test_the_last_of_many_changes_in_one_second_wins(registry: Client) -> None:
    made = _register(registry, "v1")
    for status in (PRODUCTION, ARCHIVED, FAILED, CANDIDATE, ARCHIVED):
        assert models.set_status(registry, made, status, AT).status == status
    registry.run("OPTIMIZE TABLE ml_model_registry FINAL")
    assert models.find(registry, "churn", "v1").status == ARCHIVED


def test_registering_again_replaces_the_row_within_the_same_second(registry: Client) -> None:
    _register(registry, "v1", status=TRAINING, artifact_uri="")
    made = _register(registry, "v1", artifact_uri="/new")
    assert (made.status, made.artifact_uri, made.is_latest) == (CANDIDATE, "/new", True)
    assert len(models.list_models(registry, "churn")) == 1


def test_production_is_reached_by_set_status_alone(registry: Client) -> None:
    with pytest.raises(UsageError, match="status"):
        _register(registry, "v1", status=PRODUCTION)


def test_an_unknown_reference_lists_what_is_there(registry: Client) -> None:
    _register(registry, "v1")
    with pytest.raises(UsageError, match="v9") as caught:
        models.find(registry, "churn", "v9")
    assert "v1" in str(caught.value)


@pytest.mark.parametrize("reference", ["champion", "latest", "v1"])
def test_a_pipeline_without_models_says_what_to_do(registry: Client, reference: str) -> None:
    with pytest.raises(UsageError, match="no versions"):
        models.find(registry, "churn", reference)


def test_a_reference_with_quotes_is_a_value_and_not_sql(registry: Client) -> None:
    _register(registry, "v1")
    with pytest.raises(UsageError):
        models.find(registry, "churn", "x' OR '1'='1")


def test_the_newest_versions_of_all_pipelines_come_first(registry: Client) -> None:
    for minutes, pipeline in enumerate(("churn", "ads", "clicks", "ads")):
        record = replace(_record(f"v{minutes}"), pipeline=pipeline)
        models.register(registry, record, AT + timedelta(minutes=minutes))
    assert [model.version for model in models.list_models(registry)] == ["v3", "v2", "v1", "v0"]


def test_the_champion_is_what_was_assigned_last(registry: Client) -> None:
    first, second = _register(registry, "v1"), _register(registry, "v2", 1)
    assert models.find_alias(registry, "churn", "champion") is None
    aliases.move(registry, "churn", {"champion": first}, "first model", "test", AT)
    aliases.move(registry, "churn", {"champion": second}, "better by 0.01", "test", AT)
    assert models.find(registry, "churn", "champion") == models.find_alias(registry, "churn", "champion")
    assert models.find(registry, "churn", "champion").version == "v2"
    assert aliases.current(registry, "clicks", "champion") is None


def test_an_alias_remembers_what_it_named_before(registry: Client) -> None:
    first, second = _register(registry, "v1"), _register(registry, "v2", 1)
    aliases.move(registry, "churn", {"champion": first}, "first model", "test", AT)
    made = aliases.current(registry, "churn", "champion")
    assert made is not None
    aliases.move(registry, "churn", {"champion": second}, "better", "test", AT + timedelta(days=1))
    assert aliases.current(registry, "churn", "champion", AT - timedelta(seconds=1)) is None
    assert aliases.current(registry, "churn", "champion", AT + timedelta(hours=1)) == made
    assert made.set_at == AT


def test_an_alias_moves_on_when_the_clock_lags(registry: Client) -> None:
    first, second = _register(registry, "v1"), _register(registry, "v2", 1)
    aliases.move(registry, "churn", {"champion": first}, "a", "test", AT)
    aliases.move(registry, "churn", {"champion": second}, "b", "test", AT - timedelta(hours=1))
    current = aliases.current(registry, "churn", "champion")
    assert current is not None
    assert current.version == "v2"


def test_what_an_alias_names_now_does_not_depend_on_whose_clock_is_ahead(registry: Client) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=5)
    aliases.move(registry, "churn", {"champion": _register(registry, "v1")}, "a", "another machine", ahead)
    assert {alias: one.version for alias, one in aliases.named(registry, "churn").items()} == {"champion": "v1"}


def test_of_two_assignments_at_the_same_moment_every_reader_takes_the_same(registry: Client) -> None:
    for version in ("v2", "v1"):
        registry.run(
            "INSERT INTO raypipe_aliases (pipeline, alias, model_version, set_at)"
            " VALUES ('churn', 'champion', {version:String}, '2026-02-01 03:04:05.000001')",
            {"version": version},
        )
    current = aliases.current(registry, "churn", "champion")
    assert current is not None
    assert {("churn", current.version): ("champion",)} == retention.named(registry)
    newest, *_ = aliases.history(registry, "churn")
    assert (newest.assignment, newest.until) == (current, None)


def _champions(client: Client, *versions: str) -> None:
    known = {model.version: model for model in models.list_models(client, "churn")}
    for version in versions:
        champions.promote(client, known.get(version) or _register(client, version), "x", "a test", datetime.now(UTC))


def _names(client: Client) -> dict[str, str]:
    return {alias: one.version for alias, one in aliases.named(client, "churn").items()}


def _roll_back(client: Client) -> None:
    champions.restore(client, champions.reversal(client, "churn"), "x", "a test", datetime.now(UTC))


@pytest.mark.parametrize(
    ("earlier", "back"),
    [
        (("a", "b", "c"), ["b", "a"]),
        (("a", "b", "a"), ["b"]),
        (("z", "a", "b", "a"), ["b", "z"]),
        (("a", "b", "a", "b"), ["a"]),
    ],
)
def test_rollbacks_go_further_back_and_never_to_and_fro(
    registry: Client, earlier: tuple[str, ...], back: list[str]
) -> None:
    _champions(registry, *earlier)
    for version in back:
        _roll_back(registry)
        assert _names(registry)["champion"] == version
    with pytest.raises(UsageError, match="no previous version"):
        champions.reversal(registry, "churn")


def test_a_rollback_after_another_goes_on_where_that_one_was(registry: Client) -> None:
    _champions(registry, "a", "b", "c")
    _roll_back(registry)
    _champions(registry, "d")
    _roll_back(registry)
    assert _names(registry) == {"champion": "b", "previous": "a"}


@pytest.mark.parametrize("table", ["ml_model_registry", "raypipe_aliases"])
def test_a_rollback_that_fails_half_way_is_finished_by_repeating_it_and_goes_no_further(
    registry: Client, table: str
) -> None:
    _champions(registry, "a", "b", "c")
    registry.run(f"ALTER TABLE {table} ADD CONSTRAINT full CHECK model_version = ''")
    with pytest.raises(ServerError):
        _roll_back(registry)
    assert _names(registry) == {"champion": "c", "previous": "b"}
    registry.run(f"ALTER TABLE {table} DROP CONSTRAINT full")
    _roll_back(registry)
    assert _names(registry) == {"champion": "b", "previous": "a"}
    assert {one.version: one.status for one in models.list_models(registry)} == {
        "a": ARCHIVED,
        "b": PRODUCTION,
        "c": ARCHIVED,
    }


def test_a_fit_does_not_replace_a_champion_that_it_was_not_compared_with(registry: Client) -> None:
    _champions(registry, "a")
    made, better = _register(registry, "b", 1), Decision(True, "better by 0.02", "auc")
    _champions(registry, "chosen by hand meanwhile")
    assert registration.settle(registry, made, better, "a").status == CANDIDATE
    assert _names(registry) == {"champion": "chosen by hand meanwhile", "previous": "a", "challenger": "b"}
    assert "better by 0.02" in aliases.named(registry, "churn")["challenger"].reason
    assert registration.settle(registry, made, better, "chosen by hand meanwhile").status == PRODUCTION
    assert _names(registry) == {"champion": "b", "previous": "chosen by hand meanwhile"}


def test_the_challenges_of_a_champion_count_until_another_takes_over(registry: Client) -> None:
    _champions(registry, "a")
    champion = models.find(registry, "churn", "champion")
    assert champions.challenges(registry, champion) == 0
    refused = Decision(False, "not better", "auc")
    for minute, version in enumerate(("b", "c", "c"), start=1):
        registration.settle(registry, _register(registry, version, minute), refused, "a")
    assert champions.challenges(registry, champion) == 3
    registration.settle(registry, models.find(registry, "churn", "b"), replace(refused, promote=True), "a")
    assert champions.challenges(registry, models.find(registry, "churn", "champion")) == 0
    assert champions.challenges(registry, champion) == 0


def test_a_provisional_champion_keeps_its_tag_until_it_is_promoted_otherwise(registry: Client) -> None:
    made, decision = _register(registry, "a"), Decision(True, "provisional: x", "auc", provisional=True)
    assert registration.settle(registry, made, decision, None).is_provisional
    _champions(registry, "b")
    assert models.find(registry, "churn", "a").is_provisional
    assert not models.find(registry, "churn", "b").is_provisional
    _roll_back(registry)
    assert models.find(registry, "churn", "champion").is_provisional
    _champions(registry, "a")
    assert not models.find(registry, "churn", "champion").is_provisional
    assert _names(registry) == {"champion": "a"}
    assert aliases.named(registry, "churn")["champion"].reason == "x"


def test_an_alias_cannot_name_another_pipelines_model(registry: Client) -> None:
    with pytest.raises(UsageError, match="clicks"):
        aliases.move(registry, "clicks", {"champion": _register(registry, "v1")}, "a", "test", AT)


def test_latest_is_no_alias(registry: Client) -> None:
    with pytest.raises(UsageError, match="latest"):
        aliases.move(registry, "churn", {"latest": _register(registry, "v1")}, "a", "test", AT)


def test_features_are_ranked_by_importance(registry: Client) -> None:
    identity = model_id("churn", "v1")
    features = [
        FeatureRecord("small", 0.1, 0, 1, 0.5, 0.2),
        FeatureRecord("large", 0.9, -5, 5, 0, 2, kind="category", description="the largest"),
    ]
    record_features(registry, identity, features, AT)
    record_features(registry, identity, features, AT)
    rows = registry.rows(
        "SELECT feature_rank, feature_name, feature_importance, min_value, std_value, feature_type"
        " FROM ml_model_features FINAL WHERE model_id = {id:String} ORDER BY feature_rank",
        {"id": identity},
    )
    assert rows == [(1, "large", 0.9, -5.0, 2.0, "category"), (2, "small", 0.1, 0.0, 0.2, "number")]


RUN = TrainingRun("run", model_id("churn", "v1"), "churn v1", AT, hyperparameters={"max_depth": 6})


def _runs(client: Client) -> list[tuple[Any, ...]]:
    return client.rows(
        "SELECT run_status, duration_sec, training_dataset_size, error_message, hyperparameters"
        " FROM ml_model_training_runs FINAL"
    )


def test_a_run_that_ends_replaces_its_beginning(registry: Client) -> None:
    training_runs.start_run(registry, RUN)
    assert [row[0] for row in _runs(registry)] == ["RUNNING"]
    training_runs.finish_run(registry, RUN, TrainingResult(training_rows=1_000), AT + timedelta(seconds=90))
    assert _runs(registry) == [("COMPLETED", 90, 1_000, "", json.dumps({"max_depth": 6}))]


def test_a_run_that_fails_at_once_is_kept_with_its_error(registry: Client) -> None:
    training_runs.start_run(registry, RUN)
    training_runs.fail_run(registry, RUN, ModelError("It broke", found="'x'"), AT)
    assert [(row[0], row[3]) for row in _runs(registry)] == [("FAILED", "It broke\n  found: 'x'")]


def test_why_a_fit_failed_is_told_even_where_it_cannot_be_written_down(registry: Client) -> None:
    def fail() -> None:
        registry.run("DROP TABLE ml_model_training_runs SYNC")
        raise ModelError("It broke")

    with pytest.raises(ModelError, match="It broke"), registration.recorded(registry, registration.Attempt("v1", RUN)):
        fail()
