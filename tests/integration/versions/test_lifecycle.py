"""Test the life of versions on a real ClickHouse: promoted, scored and rolled back, without Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.artifact import files
from raypipe.artifact.contract import matrix
from raypipe.artifact.package import Package, load_package, pack
from raypipe.cli import app
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.statements import identifier, load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import unsliced
from raypipe.errors import Busy, ModelError
from raypipe.evaluation.decision import Decision
from raypipe.fit import registration
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec
from raypipe.models.xgboost import XGBoost
from raypipe.registry import aliases, models
from raypipe.registry import champions as registry_champion
from raypipe.registry.record import ModelRecord, Registered, model_id
from raypipe.score import runs, score
from raypipe.versions import promotion, retention, rollback
from tests.factories import model_record
from tests.integration.conftest import SNAPSHOTS, RegisteredModel

EARLIER, LATEST = SNAPSHOTS
STARTED = datetime(2026, 2, 1, 3, 0, tzinfo=UTC)
FIRST, SECOND, THIRD = "20260131.000000.aaaaaa", "20260131.000000.bbbbbb", "20260131.000000.cccccc"
WRITTEN = (
    "ml_model_registry",
    "raypipe_aliases",
    "raypipe_runs",
    "raypipe_slices",
    "ml_model_predictions",
    "customer_churn_predictions",
    "ml_model_monitoring",
    "ml_model_training_runs",
)
PREDICTIONS = (
    "SELECT entity_id, prediction_probability, prediction_value, prediction_class, model_id"
    " FROM ml_model_predictions WHERE prediction_date = {date:Date} ORDER BY entity_id, batch_id"
)
CHURN = (
    "SELECT user_id, churn_probability, churn_risk_level, model_confidence, feature_importance, model_version"
    " FROM customer_churn_predictions WHERE prediction_date = {date:Date} ORDER BY user_id, created_at"
)


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Life:
    """A database with three versions of churn, and raypipe's command line on it."""

    at: RegisteredModel
    client: Client

    @property
    def loaded(self) -> Loaded:
        return load_pipeline("churn", self.at.project / "configs", self.overrides, environ={})

    @property
    def overrides(self) -> tuple[str, ...]:
        return (f"artifacts={self.at.artifacts}", "score.explain.rows=10")

    def command(self, *arguments: str) -> Result:
        environment = {"RAYPIPE_URL": str(self.at.endpoint), "RAYPIPE_ARTIFACTS": str(self.at.artifacts)}
        if self.at.endpoint.password_file:
            environment["RAYPIPE_PASSWORD_FILE"] = self.at.endpoint.password_file
        named = [*arguments, "--config", str(self.at.project / "configs"), "--json"]
        return CliRunner().invoke(app, named, prog_name="raypipe", env=environment)

    def done(self, *arguments: str) -> dict[str, Any]:
        result = self.command(*arguments)
        assert result.exit_code == 0, result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def promote(self, version: str, *options: str) -> dict[str, Any]:
        return self.done("models", "promote", "churn", version, "--reason", f"to show {version}", *options)

    def score(self, day: Any = LATEST, model: str = "champion") -> runs.Run:
        return score.score(self.at.endpoint, self.loaded, day, model, silent).outcome.run

    def published(self, day: Any = LATEST) -> tuple[list[Any], list[Any]]:
        versions = {model_id("churn", version): version for version in (FIRST, SECOND, THIRD)}
        rows = self.client.rows(PREDICTIONS, {"date": day})
        return [(*row[:-1], versions[row[-1]]) for row in rows], self.client.rows(CHURN, {"date": day})

    def aliases(self) -> dict[str, str]:
        return {alias: one.version for alias, one in aliases.named(self.client, "churn").items()}

    def statuses(self) -> dict[str, str]:
        return {model.version: model.status for model in models.list_models(self.client, "churn")}

    def content(self) -> dict[str, Any]:
        return {
            table: self.client.rows(f"SELECT count(), groupBitXor(cityHash64(*)) FROM {identifier(table)}")
            for table in WRITTEN
        }


def another(client: Client, model: RegisteredModel, depth: int, features_less: int = 0) -> Package:
    """A model that judges otherwise, on the same contract or on one with fewer features."""
    loaded = load_pipeline("churn", model.project / "configs", environ={})
    uri = str(model.artifact)
    package = load_package(uri, model.artifact.name, None)
    known = package.contract
    contract = replace(known, features=known.features[: len(known.features) - features_less])
    features = unsliced(load(loaded.sql("churn/features.sql")).text)
    data = client.table(contract.select(features), {"date": LATEST})
    x = matrix(data.column("x"), len(contract.columns))
    rows = Matrix(x, (x[:, contract.columns.index("total_sessions")] > 5 * depth).astype(np.float32))
    params = {"objective": "binary:logistic", "max_depth": depth}
    fitted, _ = XGBoost().fit(
        rows, rows, FitSpec(contract.columns, contract.monotone, params, rounds=10, kind="binary")
    )
    return replace(package, contract=contract, model=fitted)


def register(client: Client, root: str, package: Package, version: str, at: datetime = STARTED) -> Registered:
    stored = files.save(root, pack(package, np.zeros((4, len(package.contract.columns)), np.float32), {}))
    return models.register(client, model_record(version, at, stored, package.contract.sha256), at)


@pytest.fixture(scope="module")
def packages(registered_model: RegisteredModel) -> list[Package]:
    with Client(registered_model.endpoint) as client:
        first = load_package(str(registered_model.artifact), registered_model.artifact.name, None)
        return [first, another(client, registered_model, 1), another(client, registered_model, 3)]


@dataclass(frozen=True)
class State:
    """The tables that the tests write to, as they are now, to go back to before each test."""

    client: Client
    name: str

    def keep(self) -> State:
        for table in WRITTEN:
            self.client.run(f"CREATE TABLE {self.name}_{table} AS {table}")
            self.client.run(f"INSERT INTO {self.name}_{table} SELECT * FROM {table}")
        return self

    def restore(self) -> None:
        for table in WRITTEN:
            self.client.run(f"TRUNCATE TABLE {table}")
            self.client.run(f"INSERT INTO {table} SELECT * FROM {self.name}_{table}")


@pytest.fixture(scope="module")
def states(registered_model: RegisteredModel, packages: list[Package]) -> Iterator[tuple[State, State]]:
    """Three versions registered; the same with the latest date published by the first, and anew by the second."""
    with Client(registered_model.endpoint) as client:
        for table in WRITTEN:
            client.run(f"TRUNCATE TABLE {table}")
        for number, version in enumerate((FIRST, SECOND, THIRD)):
            at = STARTED + timedelta(minutes=number)
            register(client, str(registered_model.artifacts), packages[number], version, at)
        registered = State(client, "registered").keep()
        life = Life(registered_model, client)
        for version in (FIRST, SECOND):
            life.promote(version)
            life.score()
        yield registered, State(client, "replaced").keep()


@pytest.fixture
def life(registered_model: RegisteredModel, states: tuple[State, State]) -> Life:
    """Three versions of churn that are candidates."""
    states[0].restore()
    return Life(registered_model, states[0].client)


@pytest.fixture
def replaced(registered_model: RegisteredModel, states: tuple[State, State]) -> Life:
    """The first version has published the latest date, and the second, now champion, has published it anew."""
    states[1].restore()
    return Life(registered_model, states[1].client)


class TestRollback:
    @pytest.mark.versions
    def test_promote_score_promote_another_and_roll_back(self, life: Life) -> None:
        life.promote(FIRST)
        life.score()
        before = life.published()
        named, when = life.aliases(), datetime.now(UTC)
        assert len(before[0]) == len(before[1]) == 300
        life.promote(SECOND)
        life.score()
        between = life.published()
        meanwhile = datetime.now(UTC)
        changed = [old[0] for old, new in zip(before[0], between[0], strict=True) if old[1:3] != new[1:3]]
        assert len(changed) > 100, f"only {len(changed)} of 300 predictions differ between the two versions"
        assert life.aliases() == {"champion": SECOND, "previous": FIRST}

        # So many rows are explained as before.
        done = life.done("rollback", "churn", "--reason", "worse for new readers", "--set", "score.explain.rows=10")

        # Row by row: entity, probability, value, level, explanations, version; each once in both targets.
        assert life.published() == before
        assert life.aliases() == named == {"champion": FIRST}
        assert life.statuses() == {FIRST: "PRODUCTION", SECOND: "ARCHIVED", THIRD: "CANDIDATE"}
        (day,) = done["days"]
        assert (day["date"], day["rows_published"], day["same_population"]) == (LATEST.isoformat(), 300, True)
        assert runs.find(life.client, day["run_id"]).status == runs.PUBLISHED
        assert runs.find(life.client, day["restores"]).model_version == FIRST
        assert life.client.value("SELECT uniqExact(batch_id) FROM ml_model_predictions") == 1
        assert life.client.value("SELECT count() FROM raypipe_current_predictions") == 300
        for moment, version in ((when, FIRST), (meanwhile, SECOND), (datetime.now(UTC), FIRST)):
            asked = life.done("models", "history", "churn", "--alias", "champion", "--at", moment.isoformat())
            assert [period["model_version"] for period in asked["history"]] == [version]
        told = life.done("models", "history", "churn")["history"]
        assert [(one["alias"], one["model_version"]) for one in told] == [
            ("champion", FIRST),
            ("previous", ""),
            ("champion", SECOND),
            ("previous", FIRST),
            ("champion", FIRST),
        ]
        assert told[0]["reason"] == "worse for new readers"
        assert told[2]["until"] == told[0]["since"]

    def test_without_scoring_anew_the_predictions_would_stay_those_of_the_other(self, replaced: Life) -> None:
        published = replaced.published()
        assert replaced.done("rollback", "churn", "--alias-only")["days"] == []
        assert replaced.aliases() == {"champion": FIRST}
        assert replaced.published() == published
        assert {row[-1] for row in published[0]} == {SECOND}

    def test_a_version_that_has_published_nothing_is_rolled_back_by_its_alias_alone(self, life: Life) -> None:
        life.promote(FIRST)
        life.score()
        life.promote(SECOND)
        before = life.published()
        batch = life.client.value("SELECT any(batch_id) FROM ml_model_predictions")
        assert life.done("rollback", "churn")["days"] == []
        assert life.published() == before
        assert life.client.value("SELECT any(batch_id) FROM ml_model_predictions") == batch

    def test_every_date_that_the_version_had_published_is_put_back_and_no_other(self, replaced: Life) -> None:
        latest = replaced.score(EARLIER, FIRST), replaced.score(EARLIER, SECOND)
        other = EARLIER - timedelta(days=1)
        replaced.client.run(
            "INSERT INTO customer_user_features SELECT * REPLACE ({other:Date} AS feature_date)"
            " FROM (SELECT * FROM customer_user_features WHERE feature_date = {day:Date})",
            {"other": other, "day": EARLIER},
        )
        try:
            only = replaced.score(other, SECOND)
            done = replaced.done("rollback", "churn")
            assert [day["date"] for day in done["days"]] == [EARLIER.isoformat(), LATEST.isoformat()]
            assert done["days"][0]["restores"] == latest[0].run_id
            assert {row[-1] for day in SNAPSHOTS for table in replaced.published(day) for row in table} == {FIRST}
            assert runs.find(replaced.client, only.run_id).status == runs.PUBLISHED
            assert {row[-1] for row in replaced.published(other)[0]} == {SECOND}
        finally:
            replaced.client.run(
                "DELETE FROM customer_user_features WHERE feature_date = {other:Date}", {"other": other}
            )

    def test_two_rollbacks_go_two_versions_back(self, life: Life) -> None:
        for version in (FIRST, SECOND, THIRD):
            life.promote(version)
        life.done("rollback", "churn")
        assert life.aliases() == {"champion": SECOND, "previous": FIRST}
        life.done("rollback", "churn")
        assert life.aliases() == {"champion": FIRST}
        assert life.command("rollback", "churn").exit_code == 2

    @pytest.mark.versions
    def test_interrupted_while_publishing_the_champion_stays_until_it_is_repeated(self, replaced: Life) -> None:
        between = replaced.published()

        def interrupt(stage: str, done: int, total: int) -> None:
            if stage.endswith("publish"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rollback.rollback(replaced.at.endpoint, replaced.loaded, interrupt, reason="bad", set_by="a test")
        assert replaced.aliases() == {"champion": SECOND, "previous": FIRST}
        assert replaced.published() == between
        replaced.done("rollback", "churn")
        assert replaced.aliases() == {"champion": FIRST}
        assert [{row[-1] for row in table} for table in replaced.published()] == [{FIRST}, {FIRST}]
        assert [len(table) for table in replaced.published()] == [300, 300]

    def test_interrupted_before_the_aliases_move_the_repetition_moves_them_and_scores_nothing(
        self, replaced: Life
    ) -> None:
        # What a process leaves that dies between the commit of its run and the aliases.
        run = replaced.score(LATEST, FIRST)
        assert replaced.done("rollback", "churn")["days"] == []
        assert replaced.aliases() == {"champion": FIRST}
        assert replaced.client.rows("SELECT DISTINCT batch_id FROM ml_model_predictions") == [(run.run_id,)]

    def test_a_run_that_died_in_a_rollback_is_finished_by_the_next(self, replaced: Life) -> None:
        def interrupt(stage: str, done: int, total: int) -> None:
            if stage.endswith("publish"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rollback.rollback(replaced.at.endpoint, replaced.loaded, interrupt, reason="bad", set_by="a test")
        (died,) = [run for run in runs.listed(replaced.client) if run.status == runs.INTERRUPTED]
        # A process that is killed writes no failure down.
        runs.save(replaced.client, died, died.sequence, status=runs.STAGED)
        assert replaced.done("rollback", "churn")["days"][0]["run_id"] == died.run_id
        assert replaced.aliases() == {"champion": FIRST}

    def test_a_population_that_changed_since_is_told(self, replaced: Life) -> None:
        replaced.client.run(
            "INSERT INTO customer_user_features SELECT * REPLACE ('late' AS user_id) FROM customer_user_features"
            " WHERE feature_date = {day:Date} LIMIT 1",
            {"day": LATEST},
        )
        try:
            (day,) = replaced.done("rollback", "churn")["days"]
        finally:
            replaced.client.run("DELETE FROM customer_user_features WHERE user_id = 'late'")
        assert (day["rows_published"], day["same_population"]) == (301, False)

    def test_a_version_promoted_meanwhile_is_not_overwritten(self, replaced: Life) -> None:
        def promote(stage: str, done: int, total: int) -> None:
            if stage.endswith("gate"):
                model = models.find(replaced.client, "churn", THIRD)
                aliases.move(replaced.client, "churn", {"champion": model}, "meanwhile", "a fit", datetime.now(UTC))

        with pytest.raises(Busy, match="while it was rolled back"):
            rollback.rollback(replaced.at.endpoint, replaced.loaded, promote, reason="bad", set_by="a test")
        assert replaced.aliases()["champion"] == THIRD

    def test_a_champion_that_published_anew_meanwhile_is_not_left_behind(self, replaced: Life) -> None:
        found = registry_champion.reversal(replaced.client, "churn")
        with pytest.raises(Busy, match="published again") as refused:
            rollback._require_unchanged(replaced.client, found, predictions=True)
        assert LATEST.isoformat() in str(refused.value)
        rollback._require_unchanged(replaced.client, found, predictions=False)

    def test_a_champion_that_was_promoted_anew_meanwhile_is_noticed(self, life: Life) -> None:
        for version in (FIRST, SECOND):
            life.promote(version)
        found = registry_champion.reversal(life.client, "churn")
        for version in (FIRST, SECOND):
            life.promote(version)
        with pytest.raises(Busy, match="became champion while it was rolled back"):
            rollback._require_unchanged(life.client, found, predictions=True)

    def test_a_date_without_its_snapshot_is_refused_before_anything_is_scored(self, replaced: Life) -> None:
        gone = EARLIER - timedelta(days=1)
        for version, status in ((FIRST, runs.SUPERSEDED), (SECOND, runs.PUBLISHED)):
            (known,) = [run for run in runs.listed(replaced.client) if run.model_version == version]
            moved = replace(known, run_id=f"gone_{version}", date=gone, updated_at=STARTED)
            runs.save(replaced.client, moved, moved.sequence, status=status)
        before = replaced.content()
        result = replaced.command("rollback", "churn")
        assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 2
        for text in (f"The predictions of {gone} cannot be restored", EARLIER.isoformat(), "--alias-only"):
            assert text in result.stderr
        assert "--date" not in result.stderr
        assert replaced.content() == before
        assert replaced.done("rollback", "churn", "--alias-only")["days"] == []
        assert replaced.aliases() == {"champion": FIRST}


class TestTwoAtOnce:
    """A promotion or prune checks its premises again after another user's change."""

    def test_a_promotion_that_was_decided_against_an_earlier_champion_is_refused(self, life: Life) -> None:
        life.promote(FIRST)
        standing = models.find_alias(life.client, "churn", "champion")
        life.promote(SECOND)
        before = life.content()
        third = models.find(life.client, "churn", THIRD)
        with pytest.raises(Busy, match="changed meanwhile") as refused:
            promotion._promote(life.client, third, standing, "better than the first", "a test")
        assert SECOND in str(refused.value)
        assert life.content() == before

    def test_a_version_that_was_pruned_meanwhile_is_not_promoted(self, life: Life) -> None:
        third = models.find(life.client, "churn", THIRD)
        retention.mark(life.client, third, STARTED)
        with pytest.raises(ModelError, match="was pruned"):
            promotion._promote(life.client, third, None, "the first", "a test")
        assert life.aliases() == {}

    def test_a_lock_of_a_process_that_died_elsewhere_is_taken_when_asked_for(self, life: Life) -> None:
        lock.acquire(life.client, "churn", replace(Owner.here("churn_models"), host="elsewhere"))
        refused = life.command("models", "promote", "churn", FIRST, "--reason", "x")
        assert refused.exit_code == 1
        assert "--take-over" in refused.stderr
        assert "raypipe resume" not in refused.stderr
        life.promote(FIRST, "--take-over")
        assert lock.holder(life.client, "churn") is None


class TestHistory:
    def test_each_of_two_changes_within_a_second_is_found_at_its_own_moment_in_any_zone(self, life: Life) -> None:
        first, second = (models.find(life.client, "churn", version) for version in (FIRST, SECOND))
        at = datetime(2026, 3, 29, 0, 59, 59, 999_998, tzinfo=UTC)
        for model in (first, second):
            registry_champion.promote(life.client, model, "x", "a test", at)
        told = life.done("models", "history", "churn", "--alias", "champion")["history"]
        assert [one["since"] for one in told] == [
            "2026-03-29T00:59:59.999999+00:00",
            "2026-03-29T00:59:59.999998+00:00",
        ]
        # That night the clocks of Vienna went from 02:00 at +01:00 to 03:00 at +02:00.
        for moment, versions in (
            ("2026-03-29T01:59:59.999997+01:00", []),
            ("2026-03-29T01:59:59.999998+01:00", [FIRST]),
            ("2026-03-29T01:59:59.999999+01:00", [SECOND]),
            ("2026-03-29T03:00:00+02:00", [SECOND]),
            ("2026-03-29T00:59:59", []),
            ("2026-03-29T01:00", [SECOND]),
            ("2026-03-28T20:59:59.999998-04:00", [FIRST]),
        ):
            asked = life.done("models", "history", "churn", "--alias", "champion", "--at", moment)
            assert [one["model_version"] for one in asked["history"]] == versions, moment


class TestBadInput:
    """An error that says what is wrong, and a database left as it was."""

    @pytest.fixture
    def unchanged(self, life: Life) -> Iterator[None]:
        life.promote(FIRST)
        before = life.content()
        yield
        assert life.content() == before

    def refused(self, result: Result, code: int, *named: str) -> None:
        assert result.exit_code == code, result.stderr
        assert json.loads(result.stdout)["error"]["code"] == code
        assert "Traceback" not in result.stderr
        for name in named:
            assert name in result.stderr

    @pytest.mark.usefixtures("unchanged")
    def test_a_rollback_without_a_previous_version(self, life: Life) -> None:
        self.refused(life.command("rollback", "churn"), 2, "no previous version", FIRST, "models history churn")

    @pytest.mark.usefixtures("unchanged")
    def test_an_unknown_version(self, life: Life) -> None:
        for reference in ("v9", "challenger", "previous"):
            result = life.command("models", "promote", "churn", reference, "--reason", "x")
            self.refused(result, 2, reference, FIRST, SECOND, "raypipe models")

    @pytest.mark.usefixtures("unchanged")
    def test_an_unknown_pipeline(self, life: Life) -> None:
        for command in (["models", "promote", "chrun", FIRST, "--reason", "x"], ["rollback", "chrun"]):
            self.refused(life.command(*command), 2, "chrun", "did you mean churn?")
        self.refused(life.command("models", "history", "chrun"), 2, "chrun")

    @pytest.mark.usefixtures("unchanged")
    def test_a_promotion_without_a_reason(self, life: Life) -> None:
        for reason in ([], ["--reason", "  "]):
            self.refused(life.command("models", "promote", "churn", SECOND, *reason), 2, "reason", "--if-better")

    @pytest.mark.usefixtures("unchanged")
    def test_the_champion_itself(self, life: Life) -> None:
        self.refused(life.command("models", "promote", "churn", FIRST, "--reason", "x"), 2, FIRST, "already")

    @pytest.mark.usefixtures("unchanged")
    def test_a_time_that_is_none(self, life: Life) -> None:
        for time in ("noon", "0001-01-01T00:00+05:00"):
            self.refused(life.command("models", "history", "churn", "--at", time), 2, "--at", time, "2026-01-31T04:00")

    def test_a_rollback_to_a_version_whose_artifact_was_pruned(self, replaced: Life) -> None:
        retention.mark(replaced.client, models.find(replaced.client, "churn", FIRST), STARTED)
        before = replaced.content()
        self.refused(replaced.command("rollback", "churn"), 1, FIRST, "was pruned", "raypipe models churn")
        assert replaced.content() == before

    def test_a_version_whose_fit_failed_scores_nobody(self, life: Life) -> None:
        record = ModelRecord("churn", "failed", "FAILED", "classification", "xgboost", "trees", "ubj", STARTED)
        models.register(life.client, record, STARTED)
        before = life.content()
        for command in ("score", "plan"):
            result = life.command(command, "churn", "--model", "failed")
            self.refused(result, 1, "churn failed has no artifact", "status FAILED", "raypipe models churn")
        assert life.content() == before

    def test_a_champion_whose_contract_is_gone_can_be_replaced_when_asked_for(
        self, life: Life, packages: list[Package]
    ) -> None:
        made = register(life.client, str(life.at.artifacts / "lost"), packages[0], "lost")
        life.promote(made.version)
        before = life.content()
        shutil.rmtree(life.at.artifacts / "lost")
        result = life.command("models", "promote", "churn", SECOND, "--reason", "x")
        self.refused(result, 1, "contract of the champion lost cannot be read", "is not there", "--changed-contract")
        assert life.content() == before
        life.promote(SECOND, "--changed-contract")

    @pytest.mark.usefixtures("unchanged")
    def test_while_a_run_is_at_work(self, life: Life) -> None:
        owner = Owner.here("churn_20260131_other")
        lock.acquire(life.client, "churn", owner)
        try:
            result = life.command("models", "promote", "churn", SECOND, "--reason", "x")
            self.refused(result, 1, "churn_20260131_other")
        finally:
            lock.release(life.client, "churn", owner)

    def test_a_version_with_another_contract(self, life: Life, packages: list[Package]) -> None:
        gone = packages[0].contract.features[-1]
        made = register(life.client, str(life.at.artifacts), another(life.client, life.at, 1, features_less=1), "other")
        life.promote(FIRST)
        before = life.content()
        result = life.command("models", "promote", "churn", made.version, "--reason", "x")
        difference = f"{gone.name}: missing instead of {gone.type}"
        self.refused(result, 1, "other columns than the champion", "--changed-contract", difference)
        assert life.content() == before
        life.promote(made.version, "--changed-contract")
        assert life.aliases() == {"champion": "other", "previous": FIRST}

    def test_a_version_whose_artifact_was_changed(self, life: Life, packages: list[Package]) -> None:
        made = register(life.client, str(life.at.artifacts / "elsewhere"), packages[0], "broken")
        life.promote(FIRST)
        before = life.content()
        file = next((life.at.artifacts / "elsewhere").rglob("contract.json"))
        file.write_bytes(file.read_bytes() + b" ")
        result = life.command("models", "promote", "churn", made.version, "--reason", "x")
        self.refused(result, 1, "was changed", "contract.json")
        assert life.content() == before

    def test_a_features_query_that_drifted_is_refused_with_the_difference(self, replaced: Life) -> None:
        path = replaced.at.project / "sql" / "churn" / "features.sql"
        text = path.read_text()
        wanted = load_package(str(replaced.at.artifact), replaced.at.artifact.name, None).contract.schema[
            "avg_searches"
        ]
        before = replaced.content()
        renamed = "SELECT * EXCEPT (avg_searches), avg_searches AS avg_lookups FROM"
        path.write_text(f"{renamed} (\n{text.rstrip().removesuffix(';')}\n)\n")
        try:
            for command in (
                ["models", "promote", "churn", THIRD, "--reason", "x"],
                ["rollback", "churn"],
                ["score", "churn"],
            ):
                missing = f"avg_searches: missing instead of {wanted}"
                self.refused(replaced.command(*command), 1, missing, f"avg_lookups: added, {wanted}", "raypipe fit")
        finally:
            path.write_text(text)
        assert replaced.content() == before


class TestAliases:
    def test_the_version_that_challenged_is_the_challenger_no_more_once_it_is_champion(self, life: Life) -> None:
        second = models.find(life.client, "churn", SECOND)
        not_better = Decision(False, "not better", "auc")
        registration.settle(life.client, second, not_better, None)
        assert life.aliases() == {}
        life.promote(FIRST)
        registration.settle(life.client, second, not_better, FIRST)
        assert life.aliases() == {"champion": FIRST, "challenger": SECOND}
        life.promote("challenger")
        assert life.aliases() == {"champion": SECOND, "previous": FIRST}
        assert life.statuses()[FIRST] == "ARCHIVED"

    def test_an_assignment_that_was_inserted_twice_counts_once(self, life: Life) -> None:
        life.promote(FIRST)
        life.client.run("INSERT INTO raypipe_aliases SELECT * FROM raypipe_aliases")
        (period,) = life.done("models", "history", "churn")["history"]
        assert (period["model_version"], period["until"]) == (FIRST, None)

    def test_a_champion_whose_status_was_not_written_is_put_right_by_promoting_it_again(self, life: Life) -> None:
        first = models.find(life.client, "churn", FIRST)
        aliases.move(life.client, "churn", {"champion": first}, "x", "a test", datetime.now(UTC))
        assert life.statuses()[FIRST] == "CANDIDATE"
        life.promote(FIRST)
        assert life.statuses()[FIRST] == "PRODUCTION"
        assert len(life.done("models", "history", "churn")["history"]) == 1

    def test_the_list_of_versions_names_their_aliases(self, life: Life) -> None:
        life.promote(FIRST)
        life.promote(SECOND)
        listed = life.done("models", "churn")["models"]
        assert {model["model_version"]: model["aliases"] for model in listed} == {
            FIRST: ["previous"],
            SECOND: ["champion"],
            THIRD: [],
        }
        assert life.done("models", "list", "churn", "--limit", "1")["models"] == listed[:1]
