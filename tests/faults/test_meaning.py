"""Test faults of meaning: forgotten tokens, stale locks, a changing source or target, concurrent readers."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse import client as client_module
from raypipe.clickhouse import lock, retry
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.clickhouse.schema import leftovers
from raypipe.clickhouse.statements import identifier, literal, load_all
from raypipe.data.slices import Slice
from raypipe.errors import Busy, ConfigError, DataError, GateRefused, RaypipeError, ServerError, Unreachable, UsageError
from raypipe.project import shipped
from raypipe.score import gate, ledger, publish, run, run_drift, runs, score, staging, worker
from raypipe.score.gate import GateCounts
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher, _fresh_database
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, loaded, own_tables, planned

DAY = PUBLISHER_LAST_DATE
SOURCE = "customer_user_features"
TARGETS = ("customer_churn_predictions", "ml_model_predictions")
EMPTY = ("ml_model_monitoring", "raypipe_runs", "raypipe_slices", "raypipe_rejected_rows")
REGISTRY = ("ml_model_registry", "raypipe_aliases")
# A third of the readers, in granules small enough for several slices.
FEW = "cityHash64(user_id, 'few') % 3 = 0"
SMALL = "index_granularity = 16"
KEYS = "company_id, brand_id, user_id"


@dataclass(frozen=True)
class Night:
    """A database of one test: a third of the fitted publisher's newest snapshot, its model and empty targets."""

    publisher: FittedPublisher
    client: Client

    def plan(self, *overrides: str, day: date = DAY) -> Manifest:
        return planned(self.publisher, day, *overrides)

    def score(self, *overrides: str, day: date = DAY) -> str:
        """Run without a fault and return the run's id."""
        return self.run(self.plan(*overrides, day=day))

    def run(self, manifest: Manifest, *, take_over: bool = False) -> str:
        return in_process(self.publisher, manifest, take_over=take_over).run.run_id

    def resume(self, manifest: Manifest) -> str:
        """Resume the same run from the manifest in the ledger."""
        return self.run(Manifest.from_json(runs.find(self.client, manifest.run_id).manifest))

    def status(self, manifest: Manifest) -> str:
        return runs.find(self.client, manifest.run_id).status

    def content(self) -> dict[str, tuple[int, int]]:
        """Return rows and an order-free checksum of each target."""
        return {
            table: self.client.rows(f"SELECT count(), groupBitXor(cityHash64(*)) FROM {table}")[0] for table in TARGETS
        }

    def assert_exact(self, run_id: str, day: date = DAY) -> None:
        """Assert that both targets hold the day's source keys, each once, from one run, with nothing left behind."""
        assert_exact(self.client, day, run_id)
        where = "WHERE prediction_date = {day:Date} ORDER BY 1, 2, 3"
        churn, predictions = (
            self.client.rows(f"SELECT company_id, brand_id, {name} FROM {table} {where}", {"day": day})
            for name, table in zip(("user_id", "entity_id"), TARGETS, strict=True)
        )
        assert churn == predictions
        assert_nothing_left(self.client)

    def keep_source(self) -> Callable[[], None]:
        """Save the source, and return a function that restores it."""
        self.client.run(f"CREATE TABLE kept AS {SOURCE}")
        self.client.run(f"INSERT INTO kept SELECT * FROM {SOURCE}")

        def back() -> None:
            self.client.run(f"TRUNCATE TABLE {SOURCE}")
            self.client.run(f"INSERT INTO {SOURCE} SELECT * FROM kept")

        return back


@contextmanager
def own_night(publisher: FittedPublisher, schema: str = "raypipe") -> Iterator[Night]:
    """Provide a night with raypipe's own targets or the publisher's monthly ones."""
    theirs = identifier(publisher.endpoint.database)
    with _fresh_database(publisher.endpoint) as place, Client(place) as client:
        for table in (*EMPTY, *REGISTRY):
            client.run(f"CREATE TABLE {table} AS {theirs}.{table}")
        for table in REGISTRY:
            client.run(f"INSERT INTO {table} SELECT * FROM {theirs}.{table}")
        for table in TARGETS:
            client.run(target_ddl(client, schema, theirs, table))
        ddl = client.value(f"SHOW CREATE TABLE {theirs}.{SOURCE}").replace(theirs.strip("`") + ".", "", 1)
        client.run(re.sub(r"index_granularity = \d+", SMALL, ddl))
        client.run(
            f"INSERT INTO {SOURCE} SELECT * FROM {theirs}.{SOURCE} WHERE feature_date = {{day:Date}} AND {FEW}",
            {"day": DAY},
        )
        views = [one.text for one in load_all(shipped() / "sql" / "schema" / "0010_raypipe.sql") if "VIEW" in one.text]
        for view in views:
            client.run(view)
        yield Night(replace(publisher, endpoint=place), client)


def target_ddl(client: Client, schema: str, theirs: str, table: str) -> str:
    """Return a target's statement from its schema."""
    if schema == "raypipe":
        return f"CREATE TABLE {table} AS {theirs}.{table}"
    statements = load_all(Path(__file__).parents[1] / "publisher" / "schema.sql")
    return next(one.text for one in statements if re.match(rf"CREATE TABLE {table}\b", one.text))


@pytest.fixture
def night(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    with own_night(fitted_publisher) as made:
        yield made


@pytest.fixture
def monthly(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    """Provide the same night with the publisher's own targets and monthly partitions."""
    with own_night(fitted_publisher, "publisher") as made:
        yield made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)


def older(manifest: Manifest) -> Manifest:
    """Return a run of an earlier night, because some targets cannot tell two runs of one second apart."""
    return replace(manifest, run_at=manifest.run_at - timedelta(days=1))


def once(act: Callable[[], object]) -> Callable[[], None]:
    """Call `act` the first time only."""
    called: list[bool] = []

    def first() -> None:
        if not called:
            called.append(True)
            act()

    return first


def just_before(patch: pytest.MonkeyPatch, pattern: str, act: Callable[[], object]) -> None:
    """Do something just before the first matching statement is sent."""
    real, due = Client.run, once(act)

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if re.search(pattern, sql):
            due()
        real(self, sql, *arguments, **options)

    patch.setattr(Client, "run", run)


def before_reading(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after a run is planned and staged, before its first slice is read."""
    real, due = staging.check, once(act)

    def check(client: Client, manifest: Manifest) -> None:
        real(client, manifest)
        due()

    patch.setattr(staging, "check", check)


def after_first_slice(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after one slice is read, before the others are."""
    real, due = SliceScorer.score, once(act)

    def score(self: SliceScorer, piece: Slice) -> Receipt:
        receipt = real(self, piece)
        due()
        return receipt

    patch.setattr(SliceScorer, "score", score)


def before_call(patch: pytest.MonkeyPatch, module: Any, name: str, act: Callable[[], object], call: int = 1) -> None:
    """Do something once, just before a function's n-th call."""
    real, due, calls = getattr(module, name), once(act), itertools.count(1)

    def called(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            due()
        return real(*arguments, **options)

    patch.setattr(module, name, called)


def before_publishing(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Does something when the gate is passed, the explanations are written and nothing is published yet."""
    before_call(patch, run_drift, "measure", act)


def open_gate(patch: pytest.MonkeyPatch) -> None:
    """Let everything in staging pass the gate."""

    def check(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> GateCounts:
        sql = f"SELECT count() FROM {manifest.staging} WHERE attempt IN {{attempts:Array(UInt64)}}"
        return GateCounts(int(client.value(sql, {"attempts": ledger.attempts(written)})), 0)

    patch.setattr(gate, "check", check)


def double_an_insert(patch: pytest.MonkeyPatch) -> None:
    """Send one insert into staging twice, like a replay after a lost answer."""
    real, sent = Client.insert, []

    def insert(self: Client, table: str, data: pa.Table, **options: Any) -> None:
        real(self, table, data, **options)
        if table.startswith("raypipe_staging") and not sent:
            sent.append(table)
            real(self, table, data, **options)

    patch.setattr(Client, "insert", insert)


def forget_tokens(patch: pytest.MonkeyPatch, night: Night, manifest: Manifest) -> None:
    """Set staging's deduplication window to 0 after it was created and checked."""
    setting = "MODIFY SETTING non_replicated_deduplication_window = 0"
    before_reading(patch, lambda: night.client.run(f"ALTER TABLE {manifest.staging} {setting}"))


@pytest.mark.fast
def test_an_insert_that_is_sent_twice_stands_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    double_an_insert(monkeypatch)
    night.assert_exact(night.score())


@pytest.mark.fast
def test_without_tokens_an_insert_that_is_sent_twice_is_refused_by_the_gate(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, manifest = night.content(), night.plan()
    double_an_insert(monkeypatch)
    forget_tokens(monkeypatch, night, manifest)
    with pytest.raises(GateRefused, match="staging and ledger disagree"):
        night.run(manifest)
    assert night.content() == before
    assert night.status(manifest) == runs.REFUSED


def test_without_tokens_and_gate_an_insert_that_is_sent_twice_is_published_twice(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    double_an_insert(monkeypatch)
    forget_tokens(monkeypatch, night, manifest)
    open_gate(monkeypatch)
    run_id = night.run(manifest)
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


def fail_after_the_first_chunk(patch: pytest.MonkeyPatch) -> None:
    """Fail a slice's first attempt after one of its chunks is staged."""
    real = worker._Attempt._stage

    def lose() -> None:
        raise Unreachable("the connection broke")

    lost = once(lose)

    def stage(self: Any, rows: pa.Table) -> None:
        real(self, rows)
        lost()

    patch.setattr(worker._Attempt, "_stage", stage)


def token_without_content(run_id: str, piece: int, attempt: object, chunk: object, *content: object) -> str:
    return f"{run_id}/{piece}/{chunk}"


def test_a_chunk_with_other_content_than_that_of_a_dead_attempt_is_kept(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after_the_first_chunk(monkeypatch)
    night.assert_exact(night.score("score.chunk_rows=100"))


def test_without_the_content_in_its_token_a_chunk_vanishes_and_the_gate_refuses(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = night.content()
    fail_after_the_first_chunk(monkeypatch)
    monkeypatch.setattr(worker, "content_token", token_without_content)
    with pytest.raises(GateRefused, match="staging and ledger disagree"):
        night.score("score.chunk_rows=100")
    assert night.content() == before


def test_without_the_content_in_its_token_and_the_gate_rows_are_lost(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after_the_first_chunk(monkeypatch)
    monkeypatch.setattr(worker, "content_token", token_without_content)
    open_gate(monkeypatch)
    run_id = night.score("score.chunk_rows=100")
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


@pytest.fixture(scope="module")
def gone() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_stale_lock_of_a_dead_owner_is_taken_over_only_where_that_is_asked_for(night: Night, gone: int) -> None:
    first, second = night.plan(), night.plan()
    lock.acquire(night.client, "churn", replace(Owner.here(first.run_id), pid=gone))
    before = night.content()
    with pytest.raises(Busy, match=r"this process is gone") as refused:
        night.run(second)
    assert "--take-over" in str(refused.value)
    assert first.run_id in str(refused.value)
    assert night.content() == before
    night.assert_exact(night.run(second, take_over=True))


def test_the_stale_lock_of_its_own_dead_owner_does_not_stop_a_resume(
    night: Night, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    manifest = night.plan()
    with monkeypatch.context() as patch:
        before_publishing(patch, _break)
        with pytest.raises(Unreachable):
            night.run(manifest)
    lock.acquire(night.client, "churn", replace(Owner.here(manifest.run_id), pid=gone))
    night.assert_exact(night.resume(manifest))


def _break() -> None:
    raise Unreachable("the connection broke")


def keep_tables_of_runs(patch: pytest.MonkeyPatch) -> None:
    """Keep a committing run from dropping the tables of other runs, which they need to publish."""
    patch.setattr(staging, "drop", lambda *_: None)


def test_without_the_lock_two_runs_at_once_both_publish(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = older(night.plan()), night.plan()
    monkeypatch.setattr(lock, "acquire", lambda client, pipeline, owner, **_: Lock(pipeline, 1, owner))
    monkeypatch.setattr(lock, "require", lambda *_: None)
    keep_tables_of_runs(monkeypatch)
    before_publishing(monkeypatch, lambda: night.run(second))
    night.run(first)
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, second.run_id)


def test_an_owner_whose_lock_was_taken_over_does_not_publish(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = older(night.plan()), night.plan()
    before_publishing(monkeypatch, lambda: night.run(quick, take_over=True))
    with pytest.raises(Busy, match="took over"):
        night.run(slow)
    assert night.status(quick) == runs.PUBLISHED
    night.assert_exact(quick.run_id)


def test_without_asking_for_the_lock_again_the_former_owner_replaces_the_rows_of_the_next(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = older(night.plan()), night.plan()
    monkeypatch.setattr(lock, "require", lambda *_: None)
    keep_tables_of_runs(monkeypatch)
    before_publishing(monkeypatch, lambda: night.run(quick, take_over=True))
    # Its commit is too late by the ledger, but its rows are swapped in.
    with pytest.raises(Busy, match="took over the run"):
        night.run(slow)
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, quick.run_id)


def after_the_first_target(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something when one target has the run's rows and the other does not."""
    real, due = Client.run, once(act)

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        real(self, sql, *arguments, **options)
        if re.match(r"ALTER TABLE .* PARTITION ID", sql):
            due()

    patch.setattr(Client, "run", run)


def before_removal(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after the commit, before the rows of earlier runs are removed."""
    before_call(patch, runs, "earlier", act)


def before_commit(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after the swaps, before the run's row is committed."""
    before_call(patch, run, "_commit", act)


@pytest.mark.parametrize(
    "moment", [after_the_first_target, before_removal, before_commit], ids=lambda one: one.__name__
)
def test_an_owner_whose_lock_is_taken_over_while_it_publishes_leaves_the_rows_of_the_next_alone(
    night: Night, monkeypatch: pytest.MonkeyPatch, moment: Callable[..., None]
) -> None:
    slow, quick = older(night.plan()), night.plan()
    moment(monkeypatch, lambda: night.run(quick, take_over=True))
    # After its commit a run has nothing more to lose.
    with nullcontext() if moment is before_removal else pytest.raises(RaypipeError):
        night.run(slow)
    assert night.status(quick) == runs.PUBLISHED
    assert current(night) == quick.source_rows
    night.assert_exact(quick.run_id)


def current(night: Night) -> int:
    """Return the day's rows in the view."""
    sql = "SELECT count() FROM raypipe_current_predictions WHERE prediction_date = {day:Date}"
    return int(night.client.value(sql, {"day": DAY}))


def test_an_owner_whose_own_run_was_taken_over_and_finished_does_not_take_its_commit_back(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    before_publishing(monkeypatch, lambda: night.run(manifest, take_over=True))
    with pytest.raises(RaypipeError):
        night.run(manifest)
    assert_exact(night.client, DAY, manifest.run_id)
    assert night.status(manifest) == runs.PUBLISHED
    assert current(night) == manifest.source_rows


@pytest.fixture
def failed(night: Night) -> Manifest:
    """Provide a run that failed just before publishing."""
    manifest = night.plan()
    with pytest.MonkeyPatch.context() as patch:
        before_publishing(patch, _break)
        with pytest.raises(Unreachable):
            night.run(manifest)
    return manifest


def test_a_run_that_is_finished_while_another_resume_waits_for_its_lock_stays_as_it_is(
    night: Night, failed: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_call(monkeypatch, lock, "acquire", lambda: night.resume(failed))
    with pytest.raises(UsageError, match=f"{failed.run_id} is finished and cannot be resumed") as refused:
        night.run(failed)
    assert refused.value.found == runs.PUBLISHED
    assert night.status(failed) == runs.PUBLISHED
    assert current(night) == failed.source_rows
    night.assert_exact(failed.run_id)


@pytest.mark.parametrize("marked", [True, False], ids=["superseded", "died before it said so"])
def test_a_resume_does_not_take_the_place_of_a_later_run_of_its_date(
    night: Night, failed: Manifest, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    with monkeypatch.context() as patch:
        if not marked:
            patch.setattr(run, "_tidy", lambda *_: None)
        newest = night.score()
    with pytest.raises(
        UsageError, match="is finished and cannot be resumed" if marked else "is published for its date"
    ):
        night.run(failed)
    assert night.status(failed) == (runs.SUPERSEDED if marked else runs.FAILED)
    assert_exact(night.client, DAY, newest)
    night.assert_exact(night.score())


def test_two_runs_that_were_planned_in_the_same_second_are_not_mixed_up(night: Night) -> None:
    first = night.plan()
    second = replace(night.plan("source.snapshot=true"), run_at=first.run_at)
    night.run(first)
    before = night.content()
    with pytest.raises(Busy, match="same second") as refused:
        night.run(second)
    assert first.run_id in str(refused.value)
    assert night.content() == before
    night.assert_exact(first.run_id)


def test_a_run_that_finds_the_lock_held_leaves_nothing_behind_and_one_that_began_keeps_what_it_needs(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, other = night.plan("source.snapshot=true"), night.plan("source.snapshot=true")
    with monkeypatch.context() as patch:
        before_publishing(patch, _break)
        with pytest.raises(Unreachable):
            night.run(begun)
    kept = sorted(set(own_tables(night.client)) - {other.snapshot})
    assert begun.snapshot in kept
    owner = Owner.here("churn_somebody")
    lock.acquire(night.client, "churn", owner)
    for manifest in (begun, other):
        with pytest.raises(Busy):
            night.run(manifest)
    lock.release(night.client, "churn", owner)
    assert sorted(own_tables(night.client)) == kept
    night.assert_exact(night.resume(begun))


def test_a_population_is_not_copied_while_another_run_holds_the_lock(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score.prepare, "manifest", lambda *_, **__: pytest.fail("the population was read"))
    lock.acquire(night.client, "churn", Owner.here("churn_somebody"))
    with pytest.raises(Busy, match="churn_somebody"):
        score.score(night.publisher.endpoint, loaded(night.publisher), DAY, "champion", lambda *_: None)


def test_a_run_that_failed_behind_its_swap_stays_in_view_while_it_is_resumed(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()

    def fail(*_: Any) -> None:
        raise ServerError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "verify", fail)
        with pytest.raises(ServerError):
            night.run(manifest)
    seen: list[int] = []
    before_call(monkeypatch, gate, "check", lambda: seen.append(current(night)))
    night.resume(manifest)
    assert seen == [manifest.source_rows]


def key(night: Night, which: str) -> tuple[str, str, str]:
    """Return the first or last active user of the day, by key."""
    order = ", ".join(f"{name} {'ASC' if which == 'first' else 'DESC'}" for name in KEYS.split(", "))
    sql = f"SELECT {KEYS} FROM {SOURCE} WHERE active_last_30_days = 1 AND feature_date = {{day:Date}}"
    return night.client.rows(f"{sql} ORDER BY {order} LIMIT 1", {"day": DAY})[0]


def of(user: tuple[str, str, str]) -> str:
    return f"feature_date = {literal(DAY)} AND ({KEYS}) = ({', '.join(literal(part) for part in user)})"


def row(user: tuple[str, str, str]) -> str:
    return f"SELECT * FROM {SOURCE} WHERE {of(user)}"


def add(night: Night, user: tuple[str, str, str], changes: str = "concat(user_id, 'x') AS user_id") -> None:
    """Add a copy of a user's row with the next key."""
    night.client.run(f"INSERT INTO {SOURCE} SELECT * REPLACE ({changes}) FROM ({row(user)})")


def remove(night: Night, user: tuple[str, str, str]) -> None:
    night.client.run(f"DELETE FROM {SOURCE} WHERE {of(user)}", settings={"lightweight_deletes_sync": 2})


def added(night: Night) -> None:
    """Add a user to the part already read."""
    add(night, key(night, "first"))


def removed(night: Night) -> None:
    """Remove a user from the part already read."""
    remove(night, key(night, "first"))


def exchanged(night: Night) -> None:
    """Exchange users in both the read and the unread part, without changing their number."""
    for user in (key(night, "first"), key(night, "last")):
        add(night, user)
        remove(night, user)


CHANGES = pytest.mark.parametrize("change", [added, removed, exchanged], ids=lambda change: change.__name__)


@CHANGES
def test_a_source_that_changes_while_it_is_read_is_refused(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    night.score()
    before, manifest = night.content(), night.plan()
    assert len(manifest.slicing.slices) > 1
    after_first_slice(monkeypatch, lambda: change(night))
    with pytest.raises(GateRefused, match="source changed") as refused:
        night.run(manifest)
    assert "source.snapshot: true" in str(refused.value)
    assert night.content() == before


@CHANGES
def test_without_counting_the_source_again_a_mixture_of_two_states_is_published(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    manifest = night.plan()
    monkeypatch.setattr(gate, "_as_read", lambda *_: None)
    monkeypatch.setattr(gate, "_still_the_same", lambda *_: None)
    after_first_slice(monkeypatch, lambda: change(night))
    run_id = night.run(manifest)
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


@CHANGES
def test_a_copied_source_may_change_while_its_copy_is_read(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    back = night.keep_source()
    manifest = night.plan("source.snapshot=true")
    assert manifest.snapshot is not None
    before_reading(monkeypatch, lambda: change(night))
    run_id = night.run(manifest)
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, run_id)
    back()
    night.assert_exact(run_id)


@CHANGES
def test_without_a_copy_the_same_change_is_refused(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    before, manifest = night.content(), night.plan("source.snapshot=false")
    before_reading(monkeypatch, lambda: change(night))
    with pytest.raises(GateRefused, match="source changed"):
        night.run(manifest)
    assert night.content() == before


@pytest.mark.parametrize("schema", ["raypipe", "publisher"])
def test_a_rerun_of_a_date_leaves_no_row_of_the_earlier_run(fitted_publisher: FittedPublisher, schema: str) -> None:
    with own_night(fitted_publisher, schema) as night:
        first = older(night.plan())
        night.assert_exact(night.run(first))
        exchanged(night)
        night.assert_exact(night.score())
        assert night.status(first) == runs.SUPERSEDED


def test_what_a_run_that_died_behind_its_commit_left_beside_it_goes_with_doctor_clean(
    monthly: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = monthly.score()
    with monkeypatch.context() as patch:
        patch.setattr(run, "_tidy", lambda *_: None)
        second = monthly.score()
    with pytest.raises(AssertionError):
        assert_exact(monthly.client, DAY, second)
    leftovers.clean(monthly.client)
    assert run.retire_superseded(monthly.client) == (first,)
    assert_exact(monthly.client, DAY, second)
    assert own_tables(monthly.client) == []


def test_without_removing_the_earlier_run_a_month_holds_both(monthly: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monthly.score()
    monkeypatch.setattr(publish, "remove_earlier", lambda *_: None)
    run_id = monthly.score()
    with pytest.raises(AssertionError):
        assert_exact(monthly.client, DAY, run_id)


def test_without_replace_a_rerun_leaves_the_rows_of_the_earlier_run_for_a_while(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.score()
    monkeypatch.setattr(publish, "method", lambda _: "move")
    monkeypatch.setattr(publish, "remove_earlier", lambda *_: None)
    run_id = night.score()
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, run_id)


def test_a_column_dropped_from_a_target_stops_the_run_before_any_target_changes(night: Night) -> None:
    night.score()
    before, manifest = night.content(), night.plan()
    night.client.run(f"ALTER TABLE {TARGETS[1]} DROP COLUMN metadata")
    with pytest.raises(ConfigError, match="columns that the table does not have"):
        night.run(manifest)
    assert night.status(manifest) == runs.FAILED
    assert night.content()[TARGETS[0]] == before[TARGETS[0]]
    night.client.run(f"ALTER TABLE {TARGETS[1]} ADD COLUMN metadata String AFTER batch_id")
    night.assert_exact(night.resume(manifest))


def test_a_column_added_to_a_target_after_the_plan_gets_its_default(night: Night) -> None:
    manifest = night.plan()
    night.client.run(f"ALTER TABLE {TARGETS[1]} ADD COLUMN remark String DEFAULT 'none' FIRST")
    night.assert_exact(night.run(manifest))
    assert night.client.rows(f"SELECT DISTINCT remark FROM {TARGETS[1]}") == [("none",)]


def test_a_target_altered_in_the_last_moment_refuses_the_swap_and_a_resume_makes_a_new_twin(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.score()
    before, manifest = night.content()[TARGETS[1]], night.plan()
    alter_at_the_swap(monkeypatch, night)
    with pytest.raises(ServerError):
        night.run(manifest)
    sql = f"SELECT count(), groupBitXor(cityHash64(* EXCEPT remark)) FROM {TARGETS[1]}"
    assert night.client.rows(sql) == [before]
    night.assert_exact(night.resume(manifest))


def alter_at_the_swap(patch: pytest.MonkeyPatch, night: Night) -> None:
    just_before(
        patch,
        rf"ALTER TABLE `{TARGETS[1]}` REPLACE",
        lambda: night.client.run(f"ALTER TABLE {TARGETS[1]} ADD COLUMN remark String"),
    )


def test_without_a_new_twin_a_resume_never_gets_past_an_altered_target(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    with monkeypatch.context() as patch:
        alter_at_the_swap(patch, night)
        with pytest.raises(ServerError):
            night.run(manifest)
    real = Client.run

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if "raypipe_twin_" not in sql or not re.match("DROP|CREATE|INSERT", sql):
            real(self, sql, *arguments, **options)

    monkeypatch.setattr(Client, "run", run)
    with pytest.raises(ServerError):
        night.resume(manifest)


def make_monthly(night: Night) -> None:
    """Give the predictions monthly partitions and another writer's row of the same month."""
    table, client = TARGETS[1], night.client
    ddl = str(client.value(f"SHOW CREATE TABLE {table}"))
    client.run(f"RENAME TABLE {table} TO before_this")
    client.run(ddl.replace("PARTITION BY (prediction_type, prediction_date)", "PARTITION BY toYYYYMM(predicted_at)"))
    client.run(f"INSERT INTO {table} SELECT * FROM before_this")
    client.run(f"INSERT INTO {table} (prediction_id, prediction_type) VALUES ('theirs', 'other')")
    client.run("DROP TABLE before_this SYNC")
    assert "toYYYYMM(predicted_at)" in client.value(f"SHOW CREATE TABLE {table}")


THEIRS = f"SELECT count() FROM {TARGETS[1]} WHERE prediction_id = 'theirs'"


def test_another_partition_key_of_a_target_after_the_plan_is_heeded(night: Night) -> None:
    night.score()
    manifest = night.plan()
    make_monthly(night)
    assert_exact(night.client, DAY, night.run(manifest))
    assert night.client.value(THEIRS) == 1


def test_without_looking_at_the_partition_key_again_rows_of_others_are_lost(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    make_monthly(night)
    monkeypatch.setattr(publish, "method", lambda _: "replace")
    monkeypatch.setattr(publish, "others", lambda *_: "")
    night.run(manifest)
    assert night.client.value(THEIRS) == 0


def saved_by_hand(night: Night) -> None:
    """Save another writer's prediction into the partition that the night replaces."""
    night.client.run(
        f"INSERT INTO {TARGETS[1]} (prediction_id, prediction_type, prediction_date, entity_id)"
        " VALUES ('theirs', 'churn', {day:Date}, 'by hand')",
        {"day": DAY},
    )


@pytest.mark.parametrize("looks", [True, False], ids=["as_it_is", "without_looking_whose_rows_are_in_the_partition"])
def test_the_rows_of_others_in_a_partition_that_a_run_would_replace_stay(
    night: Night, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    first = older(night.plan())
    night.run(first)
    saved_by_hand(night)
    if not looks:
        monkeypatch.setattr(publish, "others", lambda *_: "")
    second = night.plan()
    night.run(second)
    assert night.client.value(THEIRS) == int(looks)
    assert night.status(first) == runs.SUPERSEDED
    night.client.run(f"DELETE FROM {TARGETS[1]} WHERE prediction_id = 'theirs'")
    night.assert_exact(second.run_id)


def stop_after_the_first_slice(night: Night, patch: pytest.MonkeyPatch, manifest: Manifest) -> None:
    with patch.context() as patched:
        after_first_slice(patched, _break)
        with pytest.raises(Unreachable):
            night.run(manifest)


def test_a_resume_keeps_to_the_chunks_of_its_manifest(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = night.plan("score.chunk_rows=200")
    stop_after_the_first_slice(night, monkeypatch, manifest)
    config = loaded(night.publisher, "score.chunk_rows=1", "score.slice_rows=9000")
    outcome = score.resume(night.publisher.endpoint, config, manifest.run_id, lambda stage, done, total: None)
    assert outcome.manifest == Manifest.from_json(manifest.to_json())
    receipts = ledger.receipts(night.client, manifest.run_id)
    assert len(receipts) == len(manifest.slicing.slices)
    assert all(receipt.rows_staged / receipt.chunks > 1 for receipt in receipts)
    night.assert_exact(manifest.run_id)


def test_without_a_frozen_chunk_size_staging_would_forget_its_tokens_too_early(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan("score.chunk_rows=200")
    stop_after_the_first_slice(night, monkeypatch, manifest)
    frozen = Manifest.from_json

    def thawed(text: str) -> Manifest:
        return replace(frozen(text), chunk_rows=1)

    monkeypatch.setattr(Manifest, "from_json", thawed)
    with pytest.raises(DataError, match="forgets its inserts too early"):
        night.resume(manifest)


def asynchronous(patch: pytest.MonkeyPatch, night: Night, manifest: Manifest) -> list[list[tuple[int]]]:
    """Use a profile with asynchronous inserts. Yield how staging's rows arrived, by the server's log."""
    real, seen = Client.__init__, []

    def make(self: Client, endpoint: Endpoint, settings: Any = None) -> None:
        real(self, endpoint, {**(settings or {}), "async_insert": 1, "wait_for_async_insert": 0})

    patch.setattr(Client, "__init__", make)
    before_reading(
        patch,
        lambda: night.client.run(
            f"ALTER TABLE {manifest.staging} ADD COLUMN how UInt8 DEFAULT toUInt8(getSetting('async_insert'))"
        ),
    )
    before_publishing(
        patch, lambda: seen.append(night.client.rows(f"SELECT DISTINCT how FROM {manifest.staging} ORDER BY how"))
    )
    return seen


def test_a_profile_with_asynchronous_inserts_that_nobody_waits_for_changes_nothing(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    how = asynchronous(monkeypatch, night, manifest)
    run_id = night.run(manifest)
    assert how == [[(0,)]]
    night.client.run(f"OPTIMIZE TABLE {TARGETS[1]} FINAL")
    night.assert_exact(run_id)


def test_without_strict_inserts_the_profile_makes_them_asynchronous(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    how = asynchronous(monkeypatch, night, manifest)
    monkeypatch.delitem(client_module.STRICT_INSERT, "async_insert")
    open_gate(monkeypatch)
    try:
        night.run(manifest)
    except RaypipeError:
        # The rows may not be there yet.
        return
    assert how == [[(1,)]]


RAW = "ml_model_predictions"
VIEW = "raypipe_current_predictions"


class Reader(threading.Thread):
    """Read the day's rows and runs in one query, in a loop."""

    def __init__(self, endpoint: Endpoint, table: str) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._sql = (
            f"SELECT count(), arraySort(groupUniqArray(batch_id)) FROM {table}"
            " WHERE prediction_type = 'churn' AND prediction_date = {day:Date}"
        )
        self._changed = threading.Condition()
        self._reads = 0
        self._ended = False
        self.seen: list[tuple[int, tuple[str, ...]]] = []

    def run(self) -> None:
        with Client(self._endpoint) as client:
            while not self._ended:
                rows, batches = client.rows(self._sql, {"day": DAY})[0]
                with self._changed:
                    self._reads += 1
                    if self.seen[-1:] != [(rows, tuple(batches))]:
                        self.seen.append((rows, tuple(batches)))
                    self._changed.notify_all()

    def look(self) -> None:
        """Wait for a read that begins after this call."""
        with self._changed:
            wanted = self._reads + 2
            assert self._changed.wait_for(lambda: self._reads >= wanted, timeout=60)

    def end(self) -> None:
        self._ended = True
        self.join(60)
        assert not self.is_alive()


@contextmanager
def watched(night: Night, table: str, patch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Read after every statement and every insert of the run."""
    reader = Reader(night.publisher.endpoint, table)
    run, insert = Client.run, Client.insert

    def run_and_look(self: Client, *arguments: Any, **options: Any) -> None:
        run(self, *arguments, **options)
        reader.look()

    def insert_and_look(self: Client, *arguments: Any, **options: Any) -> None:
        insert(self, *arguments, **options)
        reader.look()

    reader.start()
    try:
        reader.look()
        with patch.context() as patched:
            patched.setattr(Client, "run", run_and_look)
            patched.setattr(Client, "insert", insert_and_look)
            yield reader
    finally:
        reader.end()


def read_through_a_rerun(
    night: Night, table: str, patch: pytest.MonkeyPatch, beside: Callable[[Night], None] = lambda _: None
) -> list[tuple[int, tuple[str, ...]]]:
    """Return a reader's views during the night's second run over other users, the two allowed states first."""
    first = older(night.plan())
    night.run(first)
    beside(night)
    for suffix in "xyz":
        add(night, key(night, "first"), f"concat(user_id, '{suffix}') AS user_id")
    second = night.plan()
    assert second.source_rows == first.source_rows + 3
    with watched(night, table, patch) as reader:
        night.run(second)
    allowed = [(first.source_rows, (first.run_id,)), (second.source_rows, (second.run_id,))]
    assert reader.seen[0] == allowed[0]
    assert reader.seen[-1] == allowed[1]
    return [state for state in reader.seen if state not in allowed]


def test_a_reader_of_a_replaced_table_sees_the_old_run_or_the_new(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_through_a_rerun(night, RAW, monkeypatch) == []


@pytest.mark.parametrize("schema", ["raypipe", "publisher"])
def test_a_reader_of_the_view_sees_the_old_run_or_the_new(
    fitted_publisher: FittedPublisher, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_night(fitted_publisher, schema) as night:
        assert read_through_a_rerun(night, VIEW, monkeypatch) == []


def test_a_reader_of_the_view_sees_the_old_run_or_the_new_where_others_have_rows_in_the_partition(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_through_a_rerun(night, VIEW, monkeypatch, saved_by_hand) == []


def test_without_the_view_a_reader_of_monthly_partitions_sees_both_runs_at_once(
    monthly: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = read_through_a_rerun(monthly, RAW, monkeypatch)
    assert [len(batches) for _, batches in seen] == [2]


def test_without_a_swap_a_reader_sees_an_empty_table(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Client.run

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        swap = re.match(r"ALTER TABLE (\S+) REPLACE PARTITION ID ('\w+') FROM (\S+)", sql)
        if swap is None:
            real(self, sql, *arguments, **options)
            return
        self.run(f"ALTER TABLE {swap[1]} DROP PARTITION ID {swap[2]}")
        self.run(f"INSERT INTO {swap[1]} SELECT * FROM {swap[3]}")

    monkeypatch.setattr(Client, "run", run)
    assert (0, ()) in read_through_a_rerun(night, RAW, monkeypatch)
