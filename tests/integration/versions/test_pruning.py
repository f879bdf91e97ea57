"""Test that a prune keeps artifacts that an alias, a run or another version needs, in each kind of store."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raypipe.artifact import stores
from raypipe.cli import app
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.shared import CLICKHOUSE
from raypipe.errors import ModelError
from raypipe.registry import aliases, champions, models
from raypipe.registry.record import ModelRecord, Registered
from raypipe.versions import pruning, retention
from raypipe.versions.pruning import Pruned

AT = datetime(2026, 2, 1, 3, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Registry:
    """Eight versions of churn, v1 the oldest, each with an artifact."""

    client: Client
    root: str

    def register(self, version: str, minutes: int, content: str = "", pipeline: str = "churn") -> Registered:
        stored = stores.at(self.root, self.client).put({"model.ubj": (content or version).encode()})
        record = ModelRecord(
            *(pipeline, version, "CANDIDATE", "classification", "xgboost", "trees", "ubj", AT),
            artifact_uri=stored.uri,
            artifact_sha256=stored.sha256,
        )
        return models.register(self.client, record, AT + timedelta(minutes=minutes))

    def prune(self, keep: int, **options: Any) -> Pruned:
        known = {"orphans": False, "dry_run": False, **options}
        return pruning.prune(self.client.endpoint, self.root, ["churn"], keep, **known)

    def there(self) -> list[str]:
        """The versions whose artifacts can be loaded."""
        return [model.version for model in models.list_models(self.client, "churn") if self._loads(model)]

    def _loads(self, model: Registered) -> bool:
        try:
            stores.at(model.artifact_uri, self.client).check(model.artifact_sha256)
        except ModelError:
            return False
        return True


@pytest.fixture(params=["local", "clickhouse"])
def registry(request: pytest.FixtureRequest, client: Client, tmp_path: Path) -> Registry:
    migrate(client)
    made = Registry(client, str(tmp_path / "artifacts") if request.param == "local" else CLICKHOUSE)
    for number in range(1, 9):
        made.register(f"v{number}", number)
    return made


def _run(client: Client, version: str, status: str) -> None:
    client.run(
        "INSERT INTO raypipe_runs (run_id, pipeline, model_version, status)"
        " VALUES ({run:String}, 'churn', {version:String}, {status:String})",
        {"run": f"run_{version}", "version": version, "status": status},
    )


def _promote(registry: Registry, version: str) -> None:
    champions.promote(registry.client, models.find(registry.client, "churn", version), "x", "a test", AT)


def test_the_newest_and_those_that_something_names_stay(registry: Registry) -> None:
    for version in ("v1", "v2"):
        _promote(registry, version)
    champions.challenge(registry.client, models.find(registry.client, "churn", "v3"), "x", "a test", AT)
    for version, status in (("v4", "PUBLISHED"), ("v5", "FAILED"), ("v6", "SUPERSEDED")):
        _run(registry.client, version, status)
    done = registry.prune(keep=1)
    assert [model.version for model in done.versions] == ["v7", "v6"]
    assert registry.there() == ["v8", "v5", "v4", "v3", "v2", "v1"]
    assert done.bytes == sum(one.bytes for one in done.removed) > 0
    assert registry.prune(keep=1) == Pruned((), (), (), (), 0)


def test_a_pruned_version_stays_in_the_registry_and_says_so(registry: Registry) -> None:
    registry.prune(keep=7)
    gone = models.find(registry.client, "churn", "v1")
    assert (gone.status, gone.is_active, bool(gone.pruned_at)) == ("ARCHIVED", False, True)
    with pytest.raises(ModelError, match="was pruned"):
        models.require_artifact(gone)
    assert [model.version for model in models.list_models(registry.client) if model.pruned_at] == ["v1"]


def test_a_dry_run_says_the_same_and_removes_nothing(registry: Registry) -> None:
    planned = registry.prune(keep=6, dry_run=True)
    assert len(registry.there()) == 8
    assert not any(model.pruned_at for model in models.list_models(registry.client))
    done = registry.prune(keep=6)
    assert (planned.removed, planned.bytes) == (done.removed, done.bytes)
    assert [one.version for one in planned.versions] == [one.version for one in done.versions] == ["v2", "v1"]


def test_an_artifact_that_another_version_shares_stays(registry: Registry) -> None:
    registry.register("v9", 9, content="v1")
    registry.register("w1", 9, content="v2", pipeline="clicks")
    done = registry.prune(keep=6)
    assert [model.version for model in done.versions] == ["v3", "v2", "v1"]
    assert [one.name for one in done.removed] == [models.find(registry.client, "churn", "v3").artifact_sha256]
    assert registry.there()[-2:] == ["v2", "v1"]


def test_a_removal_that_was_interrupted_is_finished_by_the_next(registry: Registry) -> None:
    for model in retention.prunable(registry.client, "churn", 6):
        retention.mark(registry.client, model, AT)
    assert len(registry.there()) == 8
    done = registry.prune(keep=6)
    assert (len(done.versions), len(done.removed)) == (0, 2)
    assert registry.there() == [f"v{number}" for number in range(8, 2, -1)]


def test_a_version_that_came_to_be_named_after_its_mark_keeps_its_artifact(registry: Registry) -> None:
    first = models.find(registry.client, "churn", "v1")
    retention.mark(registry.client, first, AT)
    aliases.move(registry.client, "churn", {"champion": first}, "x", "a test", AT)
    assert registry.prune(keep=8).removed == ()
    assert "v1" in registry.there()


def test_rows_of_the_registry_that_others_wrote_are_left_as_they_are(registry: Registry) -> None:
    elsewhere = "nosuch://bucket/churn/model.pkl"
    for code in ("churn", "Churn, monthly"):
        registry.client.run(
            "INSERT INTO ml_model_registry (model_code, model_version, model_status, model_storage_url, metadata)"
            " VALUES ({code:String}, 'theirs', 'PRODUCTION', {url:String}, 'owner: ann')",
            {"code": code, "url": elsewhere},
        )
    asked = "SELECT * FROM ml_model_registry FINAL WHERE model_version = 'theirs' ORDER BY model_code"
    before = registry.client.rows(asked)
    pipelines = ["Churn, monthly", "churn"]
    done = pruning.prune(registry.client.endpoint, registry.root, pipelines, 7, orphans=False, dry_run=False)
    assert [model.version for model in done.versions] == ["v1"]
    assert elsewhere not in {one.uri for one in done.removed}
    assert registry.client.rows(asked) == before


def test_a_version_that_points_to_another_ones_artifact_does_not_take_it_along(registry: Registry) -> None:
    newest = models.find(registry.client, "churn", "v8")
    known = ModelRecord("churn", "v0", "CANDIDATE", "classification", "xgboost", "trees", "ubj", AT)
    wrong = replace(known, artifact_uri=newest.artifact_uri, artifact_sha256="ab" * 32)
    retention.mark(registry.client, models.register(registry.client, wrong, AT), AT)
    registry.prune(keep=1)
    assert registry.there() == ["v8"]


def test_a_pipeline_that_somebody_works_on_is_left_alone(registry: Registry) -> None:
    owner = Owner.here("churn_20260131_other")
    lock.acquire(registry.client, "churn", owner)
    try:
        done = registry.prune(keep=1)
    finally:
        lock.release(registry.client, "churn", owner)
    assert (done.versions, done.removed, done.skipped) == ((), (), ("churn",))
    assert len(registry.there()) == 8


def test_orphans_are_told_and_removed_only_when_asked_for_and_old(registry: Registry) -> None:
    store = stores.at(registry.root, registry.client)
    store.put({"model.ubj": b"nobody's"})
    (stray,) = [stored for stored in store.listed() if _is_stray(registry, stored.name)]
    assert retention.orphans(registry.client, registry.root, datetime.now(UTC)) == []
    later = datetime.now(UTC) + timedelta(days=2)
    assert retention.orphans(registry.client, registry.root, later) == [stray]
    assert registry.prune(keep=8, orphans=True).orphans == ()
    assert stray.bytes > 0
    assert store.delete([stray]) == stray.bytes
    assert len(registry.there()) == 8
    assert retention.orphans(registry.client, registry.root, later) == []


def _is_stray(registry: Registry, name: str) -> bool:
    return name not in {model.artifact_sha256 for model in models.list_models(registry.client)}


def test_the_command_says_what_would_go(client: Client, tmp_path: Path) -> None:
    migrate(client)
    registry = Registry(client, str(tmp_path))
    for number in range(1, 4):
        registry.register(f"v{number}", number)
    known = {"RAYPIPE_URL": str(client.endpoint), "RAYPIPE_ARTIFACTS": str(tmp_path)}
    if client.endpoint.password_file:
        known["RAYPIPE_PASSWORD_FILE"] = client.endpoint.password_file
    command = ["models", "prune", "churn", "--keep", "2", "--json"]
    planned, done = (
        json.loads(CliRunner().invoke(app, [*command, *more], env=known).stdout) for more in (["--dry-run"], [])
    )
    assert planned["versions"] == done["versions"] == [{"pipeline": "churn", "model_version": "v1"}]
    assert (planned["dry_run"], done["dry_run"], planned["bytes"]) == (True, False, done["bytes"])
    assert registry.there() == ["v3", "v2"]
