"""Test a source whose values change, with the same keys, while a run reads it slice by slice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_pipeline
from raypipe.data import pin
from raypipe.errors import ConfigError, GateRefused
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.score import explain, gate, prepare, runs
from raypipe.score.manifest import Manifest
from tests.faults.few import DAY, TARGETS, Night, few_readers
from tests.faults.nights import after_first_slice, before_call
from tests.integration.conftest import _few_users

SOURCE = "customer_user_features"
CHURN = TARGETS[0]
SLICES = "score.slice_rows=40"
# The values of a row that churn publishes beside its score; no user has more than 40 sessions.
MORE = "* REPLACE (total_sessions + 1000 AS total_sessions)"
OLD, NEW = "total_sessions < 1000", "total_sessions > 1000"
SYNC = {"mutations_sync": 2, "lightweight_deletes_sync": 2}
BONUSES = f"FROM (SELECT * REPLACE (toUInt32(total_sessions + bonus) AS total_sessions) FROM {SOURCE} LEFT ANY JOIN"
BONUSES += " bonuses USING (user_id))"


@dataclass(frozen=True)
class Source:
    """A night over a source in small granules, and a folder with a copy of its project."""

    night: Night
    folder: Path

    @property
    def client(self) -> Client:
        return self.night.client

    def plan(self, *overrides: str) -> Manifest:
        manifest = self.night.plan(SLICES, *overrides)
        assert len(manifest.slicing.slices) > 2
        return manifest

    def plan_joined(self, snapshot: bool) -> Manifest:
        """Plan a run of a pipeline whose features join the table `bonuses`."""
        features = self.folder / "project" / "sql" / "churn" / "features.sql"
        text = features.read_text()
        if BONUSES not in text:
            assert f"FROM {SOURCE}\n" in text
            features.write_text(text.replace(f"FROM {SOURCE}\n", f"{BONUSES}\n"))
        overrides = [*self.night.publisher.overrides, SLICES, "score.explain.rows=0"]
        overrides.append(f"source.snapshot={str(snapshot).lower()}")
        config = load_pipeline("churn", self.folder / "project" / "configs", overrides, environ={})
        model = models.find(self.client, "churn", "champion")
        card = load_card(model.artifact_uri, model.artifact_sha256, self.client)
        population = prepare.population(self.client, config, DAY)
        return prepare.manifest(self.client, config, model, card, population, write=True)

    def restore(self) -> None:
        """Write the source again, in two parts, and forget every run."""
        self.night.empty()
        for statement in (
            "DROP TABLE IF EXISTS bonuses SYNC",
            f"TRUNCATE TABLE {SOURCE}",
            f"INSERT INTO {SOURCE} SELECT * FROM kept WHERE cityHash64(user_id) % 2 = 0",
            f"INSERT INTO {SOURCE} SELECT * FROM kept WHERE cityHash64(user_id) % 2 = 1",
        ):
            self.client.run(statement)

    def published(self) -> tuple[int, int]:
        """Return the published rows with old values, and those with new values."""
        sql = f"SELECT countIf({OLD}), countIf({NEW}) FROM {CHURN} WHERE prediction_date = {{day:Date}}"
        ((old, new),) = self.client.rows(sql, {"day": DAY})
        return old, new

    def is_mixed(self) -> bool:
        return all(self.published())


@pytest.fixture(scope="module")
def made(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp("pinned")
    for part in ("configs", "sql"):
        shutil.copytree(shipped() / part, folder / "project" / part)
    with few_readers(endpoint, folder) as night:
        ddl = night.client.value(f"SHOW CREATE TABLE {SOURCE}")
        night.client.run(f"DROP TABLE {SOURCE} SYNC")
        night.client.run(re.sub("index_granularity = [0-9]+", "index_granularity = 2", ddl))
        _few_users(night.client)
        night.client.run(f"CREATE TABLE kept AS {SOURCE}")
        night.client.run(f"INSERT INTO kept SELECT * FROM {SOURCE}")
        yield Source(night, folder)


@pytest.fixture
def source(made: Source) -> Source:
    made.restore()
    return made


def recomputed(source: Source) -> None:
    """Replace the day's partition by the same keys with other values, as another tool's rebuild does."""
    source.client.run(f"CREATE OR REPLACE TABLE rebuilt AS {SOURCE}")
    source.client.run(
        f"INSERT INTO rebuilt SELECT {MORE} FROM {SOURCE} WHERE feature_date = {{day:Date}}", {"day": DAY}
    )
    source.client.run(f"ALTER TABLE {SOURCE} REPLACE PARTITION ID '{DAY:%Y%m%d}' FROM rebuilt")


def updated(source: Source) -> None:
    """Update every row in place."""
    source.client.run(
        f"ALTER TABLE {SOURCE} UPDATE total_sessions = total_sessions + 1000 WHERE feature_date = {{day:Date}}",
        {"day": DAY},
        SYNC,
    )


def rewritten(source: Source) -> None:
    """Delete rows and insert the same keys again, with other values."""
    source.client.run(f"CREATE OR REPLACE TABLE again AS {SOURCE}")
    source.client.run(f"INSERT INTO again SELECT {MORE} FROM {SOURCE} WHERE feature_date = {{day:Date}}", {"day": DAY})
    source.client.run(f"DELETE FROM {SOURCE} WHERE feature_date = {{day:Date}}", {"day": DAY}, SYNC)
    source.client.run(f"INSERT INTO {SOURCE} SELECT * FROM again")


def exchanged(source: Source) -> None:
    """Exchange the table for another with the same parts."""
    source.client.run(f"CREATE OR REPLACE TABLE other AS {SOURCE}")
    for rest in (0, 1):
        source.client.run(f"INSERT INTO other SELECT {MORE} FROM kept WHERE cityHash64(user_id) % 2 = {rest}")
    source.client.run(f"EXCHANGE TABLES {SOURCE} AND other")


CHANGES = pytest.mark.parametrize(
    "change",
    [pytest.param(recomputed, marks=pytest.mark.fast), updated, rewritten, exchanged],
    ids=lambda change: change.__name__,
)
Change = Callable[[Source], None]


def without_pin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pin, "changes", lambda *_: iter(()))


@CHANGES
def test_other_values_between_two_slices_refuse_the_run(
    source: Source, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    source.night.score()
    before, manifest = source.night.versions(), source.plan()
    after_first_slice(monkeypatch, lambda: change(source))
    with pytest.raises(GateRefused, match="the source changed while") as refused:
        source.night.run(manifest)
    assert SOURCE in str(refused.value.found)
    assert "source.snapshot: true" in str(refused.value)
    assert source.night.versions() == before
    assert source.night.find(manifest).status == runs.REFUSED
    assert source.published()[1] == 0


@CHANGES
def test_without_the_pin_a_mixture_of_old_and_new_values_is_published(
    source: Source, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    manifest = source.plan()
    without_pin(monkeypatch)
    after_first_slice(monkeypatch, lambda: change(source))
    source.night.run(manifest)
    assert source.is_mixed()


@pytest.mark.fast
def test_a_merge_between_two_slices_is_no_change(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = {table:String}"
    manifest = source.plan()
    after_first_slice(monkeypatch, lambda: source.client.run(f"OPTIMIZE TABLE {SOURCE} FINAL"))
    source.night.assert_exact(source.night.run(manifest))
    # One part per snapshot.
    assert source.client.value(parts, {"table": SOURCE}) == 2


def test_other_values_of_another_day_are_no_change(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = source.plan()
    condition = f"feature_date != '{DAY}'"
    after_first_slice(
        monkeypatch,
        lambda: source.client.run(f"INSERT INTO {SOURCE} SELECT * FROM kept WHERE {condition}"),
    )
    source.night.assert_exact(source.night.run(manifest))


@pytest.mark.fast
def test_a_resumed_run_whose_source_has_changed_meanwhile_is_refused_before_it_scores(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = source.plan()
    source.night.dies(manifest, gate, "check_rejected")
    recomputed(source)
    scored: list[str] = []
    after_first_slice(monkeypatch, lambda: scored.append("a slice"))
    again = Manifest.from_json(source.night.find(manifest).manifest)
    with pytest.raises(GateRefused, match="the source changed while"):
        source.night.run(again, take_over=True)
    assert scored == []


def test_without_the_pin_a_resumed_run_publishes_a_mixture(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = source.plan()
    source.night.dies(manifest, gate, "check_rejected")
    recomputed(source)
    without_pin(monkeypatch)
    source.night.run(manifest, take_over=True)
    assert source.is_mixed()


def test_other_values_while_rows_are_explained_refuse_the_run(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = source.plan()
    before_call(monkeypatch, explain, "write", lambda: recomputed(source))
    with pytest.raises(GateRefused, match="the source changed while"):
        source.night.run(manifest)


@pytest.fixture
def bonuses(source: Source) -> Source:
    source.client.run("CREATE TABLE bonuses (user_id String, bonus UInt32) ENGINE = MergeTree ORDER BY user_id")
    source.client.run("INSERT INTO bonuses VALUES ('nobody', 1)")
    return source


def raised(source: Source) -> None:
    """Give every user a bonus, in the table that the features join."""
    source.client.run(f"INSERT INTO bonuses SELECT DISTINCT user_id, 1000 FROM {SOURCE}")


@pytest.mark.fast
def test_a_write_to_a_joined_table_refuses_the_run(bonuses: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = bonuses.plan_joined(snapshot=False)
    after_first_slice(monkeypatch, lambda: raised(bonuses))
    with pytest.raises(GateRefused) as refused:
        bonuses.night.run(manifest)
    assert "partition all of" in str(refused.value.found)
    assert "bonuses was inserted into" in str(refused.value.found)


@pytest.mark.fast
def test_without_the_pin_a_joined_table_s_old_and_new_rows_are_published(
    bonuses: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = bonuses.plan_joined(snapshot=False)
    without_pin(monkeypatch)
    after_first_slice(monkeypatch, lambda: raised(bonuses))
    bonuses.night.run(manifest)
    assert bonuses.is_mixed()


def test_a_copied_population_may_change_while_its_copy_is_read(
    bonuses: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = bonuses.plan_joined(snapshot=True)
    assert manifest.pinned == ()
    after_first_slice(monkeypatch, lambda: raised(bonuses))
    bonuses.night.run(manifest)
    assert bonuses.published()[1] == 0


@pytest.mark.fast
def test_a_joined_table_that_cannot_be_pinned_is_refused_by_name_unless_it_is_copied(source: Source) -> None:
    source.client.run("CREATE TABLE bonuses (user_id String, bonus UInt32) ENGINE = Memory")
    with pytest.raises(ConfigError) as refused:
        source.plan_joined(snapshot=False)
    assert "bonuses (Memory)" in str(refused.value.found)
    assert "source.snapshot: true" in str(refused.value.next_step)
    source.night.run(source.plan_joined(snapshot=True))
    assert source.published()[1] == 0


def test_the_pin_is_taken_before_the_population_is_counted(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    before_call(monkeypatch, gate, "population", lambda: updated(source))
    with pytest.raises(GateRefused, match="the source changed while"):
        source.night.run(source.plan())
