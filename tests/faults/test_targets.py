"""Test targets that cannot hold a run, whose rows the user sees in part, or that have projections or views."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse import mutations, partitions, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import load_all
from raypipe.config.load import load_pipeline
from raypipe.errors import ConfigError, GateRefused
from raypipe.features import swap
from raypipe.project import shipped
from raypipe.score import plan, previous, publish, run, runs, targets
from raypipe.score.manifest import Manifest, PublishTarget
from tests.conftest import FittedPublisher, _fresh_database
from tests.faults.oracle import in_process, loaded, own_tables, planned
from tests.faults.servers import FEATURES, LIMITED, PUBLISHER_TABLES, Embedded
from tests.faults.small import DAY, USERS, small_publisher

CHURN, PREDICTIONS = "customer_churn_predictions", "ml_model_predictions"
DAILY, MONTHLY = "PARTITION BY prediction_date", "PARTITION BY toYYYYMM(prediction_date)"
ENTITY = "company_id, brand_id, user_id"
LONG_AGO = "prediction_date - toIntervalYear(30)"
PUBLISHING = [
    ("churn", 2),
    ("conversion", 2),
    ("engagement", 1),
    ("recommendation", 1),
    ("segmentation", 2),
    ("clicks", 1),
    ("ads", 1),
]


@dataclass(frozen=True)
class Small:
    """A small publisher whose targets a test may change."""

    publisher: FittedPublisher
    client: Client

    def plan(self) -> plan.PlannedRun:
        return plan.plan(self.publisher.endpoint, loaded(self.publisher), DAY, "champion")

    def score(self) -> Manifest:
        manifest = planned(self.publisher, DAY)
        in_process(self.publisher, manifest)
        return manifest

    def status(self, manifest: Manifest) -> str:
        return runs.find(self.client, manifest.run_id).status

    def remake(self, table: str, engine: str) -> None:
        """Create a target anew with another engine, keys or TTL."""
        self.client.run(f"CREATE TABLE remade AS {table} ENGINE = {engine}")
        self.client.run(f"EXCHANGE TABLES remade AND {table}")
        self.client.run("DROP TABLE remade SYNC")

    def count(self, table: str, condition: str = "1") -> int:
        return int(self.client.value(f"SELECT count() FROM {table} WHERE {condition}"))

    def merge(self, table: str) -> None:
        self.client.run(f"OPTIMIZE TABLE {table} FINAL")


@pytest.fixture(scope="module")
def publisher(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FittedPublisher]:
    """Return a small publisher, shared by the module's tests."""
    with _fresh_database(endpoint) as place:
        yield small_publisher(endpoint, place.database, tmp_path_factory.mktemp("small"))


@pytest.fixture
def small(publisher: FittedPublisher) -> Iterator[Small]:
    """Return the small publisher, with targets as raypipe creates them and without runs."""
    with Client(publisher.endpoint) as client:
        for table in (CHURN, PREDICTIONS):
            client.run(f"CREATE TABLE kept_{table} AS {table}")
        yield Small(publisher, client)
        for table in (CHURN, PREDICTIONS):
            client.run(f"EXCHANGE TABLES kept_{table} AND {table}")
            client.run(f"DROP TABLE kept_{table} SYNC")
        for table in ("raypipe_runs", "raypipe_slices"):
            client.run(f"TRUNCATE TABLE {table}")
        for table in own_tables(client):
            client.run(f"DROP TABLE {table} SYNC")


class TestRowsThatAreMergedAway:
    @pytest.mark.fast
    @pytest.mark.parametrize(
        ("engine", "named"),
        [
            (f"SummingMergeTree {DAILY} ORDER BY (prediction_date, company_id)", "the engine SummingMergeTree"),
            (f"AggregatingMergeTree {DAILY} ORDER BY ({ENTITY})", "the engine AggregatingMergeTree"),
            (f"CoalescingMergeTree {DAILY} ORDER BY ({ENTITY})", "the engine CoalescingMergeTree"),
            (f"ReplacingMergeTree {DAILY} ORDER BY (company_id, user_id, created_at)", "lacks brand_id"),
            (
                f"ReplacingMergeTree {DAILY} ORDER BY (company_id, brand_id, lower(user_id), created_at)",
                "lacks user_id",
            ),
            (f"ReplacingMergeTree {DAILY} ORDER BY ({ENTITY})", "lacks created_at"),
            (f"ReplacingMergeTree(total_sessions) {DAILY} ORDER BY ({ENTITY})", "lacks created_at"),
            (f"ReplacingMergeTree {MONTHLY} ORDER BY ({ENTITY})", "lacks prediction_date and created_at"),
            (f"ReplacingMergeTree(created_at) {MONTHLY} ORDER BY ({ENTITY})", "lacks prediction_date"),
        ],
    )
    def test_a_target_that_merges_rows_away_is_refused_at_plan(self, small: Small, engine: str, named: str) -> None:
        small.remake(CHURN, engine)
        with pytest.raises(ConfigError) as refused:
            small.plan()
        assert f"{CHURN} would merge rows of the run away" in refused.value.problem
        assert named in str(refused.value)
        with pytest.raises(ConfigError, match="merge rows of the run away"):
            small.score()
        assert small.count("raypipe_runs") == 0
        assert own_tables(small.client) == []

    @pytest.mark.parametrize(
        "engine",
        [
            f"ReplacingMergeTree {MONTHLY} ORDER BY ({ENTITY}, created_at)",
            f"ReplacingMergeTree(created_at) {DAILY} ORDER BY ({ENTITY})",
            f"ReplacingMergeTree(created_at) {MONTHLY} ORDER BY ({ENTITY}, prediction_date)",
        ],
    )
    def test_a_key_that_tells_entities_and_runs_apart_holds_every_row(self, small: Small, engine: str) -> None:
        small.remake(CHURN, engine)
        small.score()
        manifest = small.score()
        small.merge(CHURN)
        assert small.count(CHURN) == small.count(CHURN, targets_of(manifest)) == USERS

    @pytest.mark.parametrize(
        ("engine", "left"),
        [
            (f"SummingMergeTree {DAILY} ORDER BY (prediction_date, company_id)", 1),
            (f"ReplacingMergeTree {DAILY} ORDER BY (prediction_date, company_id, created_at)", 1),
        ],
    )
    def test_without_a_look_at_the_engine_rows_are_merged_away(
        self, small: Small, monkeypatch: pytest.MonkeyPatch, engine: str, left: int
    ) -> None:
        monkeypatch.setattr(targets, "_require_rows_kept", lambda *_: None)
        small.remake(CHURN, engine)
        assert small.status(small.score()) == runs.PUBLISHED
        small.merge(CHURN)
        assert small.count(CHURN) == left

    def test_a_target_that_was_altered_meanwhile_is_refused_before_it_is_written(self, small: Small) -> None:
        manifest = planned(small.publisher, DAY)
        small.remake(CHURN, f"SummingMergeTree {DAILY} ORDER BY prediction_date")
        with pytest.raises(ConfigError, match="merge rows of the run away"):
            in_process(small.publisher, manifest)
        assert small.count(CHURN) == small.count(PREDICTIONS) == 0

    @pytest.mark.parametrize("schema", ["raypipe", "publisher"])
    @pytest.mark.parametrize(("pipeline", "expected"), PUBLISHING)
    def test_the_shipped_targets_hold_runs(
        self, small: Small, client: Client, schema: str, pipeline: str, expected: int
    ) -> None:
        place = small.client if schema == "raypipe" else client
        if schema == "publisher":
            for statement in load_all(PUBLISHER_TABLES):
                client.run(statement.text)
        config = load_pipeline(pipeline, shipped() / "configs", environ={}).config
        manifest = replace(planned(small.publisher, DAY), keys=config.entity.keys, pipeline=pipeline)
        assert len(config.publish) == expected
        for item in config.publish:
            targets.require_target(place, manifest, PublishTarget(item.target, "", item.rows))


def targets_of(manifest: Manifest) -> str:
    """Return the condition for the rows of a run in the churn table."""
    return f"created_at = toDateTime('{manifest.run_at:%Y-%m-%d %H:%M:%S}', 'UTC')"


class TestRowsThatExpire:
    def test_a_ttl_that_is_over_for_the_date_is_refused_at_plan(self, small: Small) -> None:
        small.remake(CHURN, f"MergeTree {DAILY} ORDER BY user_id TTL {LONG_AGO}")
        with pytest.raises(ConfigError, match=f"{CHURN} would delete the rows of {DAY} at once") as refused:
            small.plan()
        assert LONG_AGO in refused.value.found

    @pytest.mark.parametrize(
        "rule",
        [
            f"{LONG_AGO} RECOMPRESS CODEC(ZSTD(3))",
            f"{LONG_AGO} WHERE is_churned = 1",
            # The run's constants do not say when.
            "prediction_date + toIntervalDay(total_sessions + 10000)",
        ],
    )
    def test_a_ttl_that_keeps_the_rows_is_not(self, small: Small, rule: str) -> None:
        small.remake(CHURN, f"MergeTree {DAILY} ORDER BY user_id TTL {rule}")
        small.score()
        small.merge(CHURN)
        assert small.count(CHURN) == USERS

    def test_without_a_look_at_the_ttl_the_run_scores_in_vain(
        self, small: Small, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(targets, "_require_lasting", lambda *_: None)
        small.remake(CHURN, f"MergeTree {DAILY} ORDER BY user_id TTL {LONG_AGO}")
        assert small.plan().manifest.source_rows == USERS
        with pytest.raises(GateRefused, match="staging and ledger disagree"):
            small.score()
        assert small.count(CHURN) == 0


@pytest.mark.fast
def test_every_refusal_is_listed_at_once_before_anything_is_written(small: Small) -> None:
    small.remake(CHURN, f"SummingMergeTree {DAILY} ORDER BY user_id TTL {LONG_AGO}")
    small.remake(PREDICTIONS, "ReplacingMergeTree PARTITION BY prediction_date ORDER BY (batch_id, entity_id)")
    options = [part for item in small.publisher.overrides for part in ("--set", item)]
    result = CliRunner().invoke(app, ["plan", "churn", *options], env=small.publisher.environment())
    assert result.exit_code == 2
    for named in ("3 problems", "SummingMergeTree", LONG_AGO, "lacks company_id and brand_id"):
        assert named in result.stderr
    assert own_tables(small.client) == []


@pytest.mark.fast
class TestProjections:
    @pytest.fixture(autouse=True)
    def _projected(self, small: Small) -> None:
        small.remake(CHURN, f"MergeTree {MONTHLY} ORDER BY ({ENTITY})")
        small.client.run(
            f"ALTER TABLE {CHURN} ADD PROJECTION levels (SELECT churn_risk_level, count() GROUP BY churn_risk_level)"
        )

    def test_the_earlier_rows_go_and_the_projection_stays(self, small: Small, caplog: pytest.LogCaptureFixture) -> None:
        small.score()
        manifest = small.score()
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        assert small.status(manifest) == runs.PUBLISHED
        assert small.count(CHURN) == small.count(CHURN, targets_of(manifest)) == USERS
        counted = small.client.rows(
            f"SELECT churn_risk_level, count() FROM {CHURN} GROUP BY churn_risk_level",
            None,
            {"force_optimize_projection": 1},
        )
        assert sum(rows for _, rows in counted) == USERS

    def test_without_a_rewrite_both_runs_stay_until_they_are_cleaned(
        self, small: Small, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mutations, "SUPPORT_IS_DISABLED", 0)
            earlier = small.score()
            manifest = small.score()
            assert "earlier rows remain" in caplog.text
            assert small.count(CHURN) == 2 * USERS
        assert run.retire_superseded(small.client) == (earlier.run_id,)
        assert small.count(CHURN) == small.count(CHURN, targets_of(manifest)) == USERS


@pytest.mark.fast
def test_a_materialized_view_on_a_target_is_named_at_plan_because_it_gets_no_rows(small: Small) -> None:
    assert small.plan().notes == ()
    small.client.run(
        f"CREATE MATERIALIZED VIEW risks ENGINE = MergeTree ORDER BY user_id AS SELECT user_id FROM {CHURN}"
    )
    try:
        (note,) = small.plan().notes
        assert f"the materialized view risks on {CHURN} gets no rows" in note
        small.score()
        assert (small.count(CHURN), small.count("risks")) == (USERS, 0)
    finally:
        small.client.run("DROP TABLE risks SYNC")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FittedPublisher]:
    """Return a small publisher on a server of its own, whose user LIMITED has row policies."""
    engine = Embedded(
        tmp_path_factory.mktemp("clickhouse"),
        filters={f"limited.{table}": "company_id = 'c'" for table in (CHURN, PREDICTIONS)},
    )
    try:
        yield small_publisher(engine.start(), "limited", tmp_path_factory.mktemp("small"))
    finally:
        engine.stop()


def replaced_features(client: Client) -> None:
    """Replace the day's features by the rows that the user sees, as `raypipe features` does."""
    table = twins.require_swappable(client, FEATURES)
    place = swap.Place(client, table, partitions.states(client, FEATURES), occupied=True)
    with swap.scratch(client, "raypipe_twin_features", table) as twin:
        client.run(f"INSERT INTO {twin} SELECT * FROM {FEATURES} WHERE feature_date = '{DAY}'")
        swap.put(place, twin, DAY, lambda: None)


class TestRowsThatTheUserMayNotSee:
    """The user's row policies show the rows of company c; rows of another company stand in the same partition."""

    FOREIGN = 40

    @pytest.fixture
    def all_seeing(self, server: FittedPublisher) -> Iterator[Small]:
        with Client(server.endpoint) as client:
            yield Small(server, client)
            for table in (CHURN, PREDICTIONS, "raypipe_runs", "raypipe_slices"):
                client.run(f"TRUNCATE TABLE {table}")

    @pytest.fixture
    def limited(self, all_seeing: Small) -> Iterator[Small]:
        place = replace(all_seeing.publisher.endpoint, user=LIMITED)
        with Client(place) as client:
            yield Small(replace(all_seeing.publisher, endpoint=place), client)

    def foreign(self, small: Small) -> int:
        """Copy published rows to another company, which LIMITED may not see; they carry the mark of a run."""
        small.client.run(
            f"INSERT INTO {CHURN} SELECT * REPLACE ('other' AS company_id) FROM {CHURN} LIMIT {self.FOREIGN}"
        )
        return small.count(CHURN, "company_id = 'other'")

    @pytest.mark.fast
    def test_a_partition_with_hidden_rows_is_refused_at_plan_and_by_the_run(
        self, all_seeing: Small, limited: Small
    ) -> None:
        limited.score()
        manifest = planned(limited.publisher, DAY)
        assert self.foreign(all_seeing) == self.FOREIGN
        for attempt in (limited.plan, limited.score, lambda: in_process(limited.publisher, manifest)):
            with pytest.raises(GateRefused) as refused:
                attempt()
            assert f"{CHURN} has rows that the user {LIMITED} may not see" in refused.value.problem
            assert f"{USERS + self.FOREIGN} rows in the parts" in refused.value.found
            assert f"{USERS} of them visible" in refused.value.found
            assert "row policies" in refused.value.next_step
            assert all_seeing.count(CHURN) == USERS + self.FOREIGN
        assert limited.status(manifest) == runs.REFUSED

    def test_hidden_rows_that_come_in_before_the_swap_stay(
        self, all_seeing: Small, limited: Small, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limited.score()
        swapping: Callable[..., None] = publish.swap

        def late(*arguments: object) -> None:
            if not all_seeing.count(CHURN, "company_id = 'other'"):
                self.foreign(all_seeing)
            swapping(*arguments)

        monkeypatch.setattr(publish, "swap", late)
        with pytest.raises(GateRefused, match="may not see"):
            limited.score()
        assert all_seeing.count(CHURN) == USERS + self.FOREIGN

    def test_deleted_rows_are_not_hidden_rows(self, all_seeing: Small, limited: Small) -> None:
        limited.score()
        all_seeing.client.run(f"DELETE FROM {CHURN} WHERE user_id = 'u1'")
        limited.score()
        assert all_seeing.count(CHURN) == USERS

    @pytest.mark.fast
    def test_without_a_look_at_the_parts_the_hidden_rows_are_gone(
        self, all_seeing: Small, limited: Small, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (targets, publish):
            monkeypatch.setattr(module, "require_visible", lambda *_: None)
        # The copy of the committed rows would hold more rows than the user has counted.
        monkeypatch.setattr(previous, "keep", lambda client, row, prepared, epoch: row.previous)
        limited.score()
        self.foreign(all_seeing)
        assert limited.status(limited.score()) == runs.PUBLISHED
        assert all_seeing.count(CHURN, "company_id = 'other'") == 0


def test_a_day_of_features_with_hidden_rows_is_not_replaced(tmp_path: Path) -> None:
    hidden = f"company_id = 'other' AND feature_date = '{DAY}'"
    engine = Embedded(tmp_path / "clickhouse", filters={f"limited.{FEATURES}": "company_id = 'c'"})
    try:
        everyone = small_publisher(engine.start(), "limited", tmp_path / "small").endpoint
        with Client(everyone) as admin, Client(replace(everyone, user=LIMITED)) as client:
            admin.run(
                f"INSERT INTO {FEATURES} SELECT * REPLACE ('other' AS company_id) FROM {FEATURES}"
                f" WHERE feature_date = '{DAY}' LIMIT 9"
            )
            counted = f"SELECT count() FROM {FEATURES} WHERE {hidden}"
            with pytest.raises(GateRefused, match=f"{FEATURES} has rows that the user {LIMITED} may not see"):
                replaced_features(client)
            assert admin.value(counted) == 9
            # Without the look, the rows go.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(swap, "require_visible", lambda *_: None)
                replaced_features(client)
            assert admin.value(counted) == 0
    finally:
        engine.stop()
