"""Test that the features of a day are not replaced while a run reads them, and not read while they are replaced."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.data import exclusion
from raypipe.demo import build
from raypipe.errors import Busy, GateRefused
from raypipe.features import snapshots
from raypipe.project import shipped
from raypipe.score import runs, score
from tests.conftest import FittedPublisher
from tests.faults.few import Night
from tests.faults.nights import after_first_slice, before_call
from tests.faults.oracle import loaded
from tests.integration.conftest import SNAPSHOTS, _registered

DAY = SNAPSHOTS[-1]
BEFORE = DAY - timedelta(days=1)
MONTHLY = "toYYYYMM(feature_date)"


@pytest.fixture(scope="module")
def made(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Provide a publisher with sessions, a snapshot of them, and a champion of churn."""
    folder = tmp_path_factory.mktemp("exclusion")
    place = replace(endpoint, database=f"raypipe_test_{uuid.uuid4().hex[:12]}")
    for name in ("configs", "sql/churn"):
        shutil.copytree(shipped() / name, folder / "project" / name)
    migrate_at(place)
    try:
        with Client(place) as client:
            build(client, users=200, days=60, last_date=DAY, snapshot_every=30)
            model = _registered(client, folder / "project", folder / "artifacts")
            yield Night(FittedPublisher(place, model.artifacts), client)
    finally:
        with Client(endpoint) as admin:
            admin.run(f"DROP DATABASE IF EXISTS {place.database} SYNC")


@pytest.fixture
def night(made: Night) -> Night:
    made.empty()
    return made


def compute(night: Night, day: date = DAY, **options: Any) -> snapshots.BuiltSnapshots:
    at = datetime(2026, 2, 2, 3, tzinfo=UTC)
    return snapshots.compute(
        night.client,
        day,
        run_at=at,
        timezone="UTC",
        replace=True,
        progress=lambda stage, done, total: None,
        **options,
    )


@pytest.fixture
def elsewhere() -> Owner:
    """A living owner on another host, which computes features."""
    return replace(Owner.here(exclusion.FEATURES, f"{BEFORE} {DAY}"), host="elsewhere")


@pytest.fixture
def gone() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def refused_features(night: Night, run_id: str) -> None:
    with pytest.raises(Busy, match=f"The features of {DAY} are not changed while a run reads them") as busy:
        compute(night)
    assert run_id in str(busy.value.found)


@pytest.mark.fast
def test_features_that_a_run_reads_are_not_replaced(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = night.plan()
    after_first_slice(monkeypatch, lambda: refused_features(night, manifest.run_id))
    night.run(manifest)
    assert night.find(manifest).status == runs.PUBLISHED
    assert lock.holder(night.client, exclusion.FEATURES) is None


@pytest.mark.fast
def test_without_a_look_at_the_runs_the_features_are_replaced_and_the_pin_refuses_the_run(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    monkeypatch.setattr(exclusion, "require_unread", lambda *_, **__: None)
    after_first_slice(monkeypatch, lambda: compute(night))
    with pytest.raises(GateRefused, match="the source changed while"):
        night.run(manifest)


def test_a_run_does_not_read_features_that_are_being_replaced(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def scored() -> None:
        manifest = night.plan()
        with pytest.raises(Busy, match=f"The features of {DAY} are being computed"):
            night.run(manifest)
        tried.append(night.find(manifest).status)

    # The day is built, and its lock is looked at right before the swap.
    before_call(monkeypatch, lock, "require", scored)
    assert compute(night).days[0].status == "replaced"
    assert tried == [runs.FAILED]
    night.score()


def test_without_a_look_at_the_features_lock_a_run_reads_what_is_being_replaced(
    night: Night, monkeypatch: pytest.MonkeyPatch, elsewhere: Owner
) -> None:
    lock.acquire(night.client, exclusion.FEATURES, elsewhere)
    monkeypatch.setattr(exclusion, "require_at_rest", lambda *_: None)
    night.score()


@pytest.mark.fast
def test_both_look_for_the_other_after_they_show_themselves(
    night: Night, monkeypatch: pytest.MonkeyPatch, elsewhere: Owner
) -> None:
    """Features that begin at the last moment before the run's look are seen by it, and the other way round."""
    manifest = night.plan()

    def build() -> None:
        # The row is there, so that features that begin behind this look see the run.
        assert night.find(manifest).status == runs.RUNNING
        lock.acquire(night.client, exclusion.FEATURES, elsewhere)

    with monkeypatch.context() as patch:
        before_call(patch, exclusion, "require_at_rest", build)
        with pytest.raises(Busy, match="are being computed"):
            night.run(manifest)
    lock.release(night.client, exclusion.FEATURES, elsewhere)
    begun = night.plan()

    def begin() -> None:
        held = lock.acquire(night.client, "churn", Owner.here(begun.run_id))
        runs.begin(night.client, runs.opened(begun, str(held.owner), held.epoch))

    before_call(monkeypatch, exclusion, "require_unread", begin)
    refused_features(night, begun.run_id)


@pytest.mark.fast
def test_score_is_refused_before_its_run_has_a_row(night: Night, elsewhere: Owner) -> None:
    lock.acquire(night.client, exclusion.FEATURES, elsewhere)
    with pytest.raises(Busy, match="are being computed") as refused:
        score.score(night.publisher.endpoint, loaded(night.publisher), DAY, "champion", lambda stage, done, total: None)
    assert f"raypipe features --date {DAY} --take-over" in str(refused.value)
    assert night.client.value("SELECT count() FROM raypipe_runs") == 0


def begun(night: Night, owner: Owner | None = None, *overrides: str) -> str:
    """Begin a run that stays at work."""
    manifest = night.plan(*overrides)
    held = lock.acquire(night.client, "churn", replace(owner or Owner.here(""), run_id=manifest.run_id))
    runs.begin(night.client, runs.opened(manifest, str(held.owner), held.epoch))
    return manifest.run_id


def test_a_dead_run_and_a_run_without_its_lock_hold_up_no_features(night: Night, gone: int) -> None:
    begun(night, replace(Owner.here(""), pid=gone))
    compute(night)
    night.empty()
    begun(night)
    night.client.run("DROP TABLE raypipe_lock_churn_e1 SYNC")
    compute(night)
    # Nor while another run of the pipeline, of another date, has the lock.
    lock.acquire(night.client, "churn", Owner.here("churn_of_another_date"))
    compute(night)


def test_dead_features_hold_up_no_run(night: Night, elsewhere: Owner, gone: int) -> None:
    lock.acquire(night.client, exclusion.FEATURES, replace(Owner.here(exclusion.FEATURES), pid=gone))
    night.score()


def test_a_run_that_reads_its_own_copy_holds_up_no_features(night: Night, elsewhere: Owner) -> None:
    begun(night, None, "source.snapshot=true")
    compute(night)
    night.empty()
    lock.acquire(night.client, exclusion.FEATURES, elsewhere)
    night.run(night.plan("source.snapshot=true"))


def test_other_days_do_not_exclude_each_other(night: Night) -> None:
    begun(night)
    compute(night, BEFORE)
    night.empty()
    lock.acquire(night.client, exclusion.FEATURES, Owner.here(exclusion.FEATURES, f"{BEFORE} {BEFORE}"))
    night.score()


@pytest.mark.fast
def test_a_run_reads_its_source_until_its_rows_are_published(night: Night) -> None:
    run_id = begun(night)
    epoch = lock.standing(night.client, "churn")[-1].epoch
    staged = runs.save(night.client, night.find(run_id), epoch, status=runs.STAGED)
    refused_features(night, run_id)
    runs.save(night.client, staged, epoch, status=runs.PUBLISHING)
    compute(night)


@pytest.mark.fast
def test_a_run_of_another_date_that_joins_the_whole_table_excludes_every_day(night: Night) -> None:
    manifest = night.plan()
    joined = replace(manifest, date=BEFORE, pinned=tuple(replace(item, whole=True) for item in manifest.pinned))
    held = lock.acquire(night.client, "churn", Owner.here(manifest.run_id))
    runs.begin(night.client, runs.opened(joined, str(held.owner), held.epoch))
    refused_features(night, manifest.run_id)
    lock.acquire(night.client, exclusion.FEATURES, Owner.here(exclusion.FEATURES, f"{DAY} {DAY}"))
    exclusion.require_at_rest(night.client, BEFORE, manifest.pinned)
    with pytest.raises(Busy, match="are being computed"):
        exclusion.require_at_rest(night.client, BEFORE, joined.pinned)


@pytest.mark.fast
def test_features_that_do_not_say_their_days_hold_up_any_run(night: Night) -> None:
    lock.acquire(night.client, exclusion.FEATURES, Owner.here(exclusion.FEATURES))
    with pytest.raises(Busy, match="are being computed"):
        exclusion.require_at_rest(night.client, DAY, night.plan().pinned)


@pytest.mark.fast
def test_in_a_database_without_a_ledger_no_run_reads(client: Client) -> None:
    exclusion.require_unread(client, DAY, shared=False)


@pytest.mark.fast
def test_a_day_that_is_present_is_left_alone_and_holds_up_nothing(night: Night) -> None:
    run_id = begun(night)
    (built,) = snapshots.compute(
        night.client,
        DAY,
        run_at=datetime(2026, 2, 2, 3, tzinfo=UTC),
        timezone="UTC",
        progress=lambda stage, done, total: None,
    ).days
    assert built.status == "present"
    refused_features(night, run_id)


class TestMonths:
    """In a table with a partition per month, a write to one day changes the partition of all."""

    @pytest.fixture
    def monthly(self, night: Night) -> Iterator[Night]:
        table = exclusion.USER_FEATURES
        ddl = night.client.value(f"SHOW CREATE TABLE {table}")
        key = "PARTITION BY feature_date\n"
        assert key in ddl
        night.client.run(f"RENAME TABLE {table} TO daily")
        night.client.run(ddl.replace(key, f"PARTITION BY {MONTHLY}\n"))
        night.client.run(f"INSERT INTO {table} SELECT * FROM daily")
        yield night
        night.client.run(f"DROP TABLE {table} SYNC")
        night.client.run(f"RENAME TABLE daily TO {table}")

    def test_any_day_excludes_any_run(self, monthly: Night, monkeypatch: pytest.MonkeyPatch) -> None:
        manifest = monthly.plan()
        held: list[str] = []

        def other_day() -> None:
            with pytest.raises(Busy, match=f"The features of {BEFORE} are not changed"):
                compute(monthly, BEFORE)

        after_first_slice(monkeypatch, other_day)
        monthly.run(manifest)

        def scored() -> None:
            with pytest.raises(Busy, match="are being computed"):
                monthly.run(monthly.plan())
            held.append("refused")

        before_call(monkeypatch, lock, "require", scored)
        compute(monthly, BEFORE)
        assert held == ["refused"]
