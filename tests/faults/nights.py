"""A night of churn on a database of its own, and the ways to disturb it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse import twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.statements import identifier, literal, load_all
from raypipe.data.slices import Slice
from raypipe.errors import Unreachable
from raypipe.project import shipped
from raypipe.score import gate, ledger, portions, run_drift, runs, staging
from raypipe.score.gate import GateCounts
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher, _fresh_database
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, planned

DAY = PUBLISHER_LAST_DATE


SOURCE = "customer_user_features"


TARGETS = ("customer_churn_predictions", "ml_model_predictions")


EMPTY = ("ml_model_monitoring", "raypipe_runs", "raypipe_slices", "raypipe_rejected_rows")


REGISTRY = ("ml_model_registry", "ml_model_features", "raypipe_aliases", "raypipe_artifacts")


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
        for statement in load_all(shipped() / "sql" / "schema" / "0014_drift.sql"):
            client.run(statement.text)
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
        for table in TARGETS:
            current_views.create_missing(client, table, twins.require_swappable(client, table))
        yield Night(replace(publisher, endpoint=place), client)


def target_ddl(client: Client, schema: str, theirs: str, table: str) -> str:
    """Return a target's statement from its schema."""
    if schema == "raypipe":
        return f"CREATE TABLE {table} AS {theirs}.{table}"
    statements = load_all(Path(__file__).parents[1] / "publisher" / "schema.sql")
    return next(one.text for one in statements if re.match(rf"CREATE TABLE {table}\b", one.text))


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
        staged = int(client.value(sql, {"attempts": ledger.attempts(written)}))
        direct = portions.counted(client, manifest)
        return GateCounts(staged + sum(direct.get((item.slice, item.attempt), (0,))[0] for item in written), 0)

    patch.setattr(gate, "check", check)


def _break() -> None:
    raise Unreachable("the connection broke")


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


def removed(night: Night) -> None:
    """Remove a user from the part already read."""
    remove(night, key(night, "first"))


def exchanged(night: Night) -> None:
    """Exchange users in both the read and the unread part, without changing their number."""
    for user in (key(night, "first"), key(night, "last")):
        add(night, user)
        remove(night, user)


def saved_by_hand(night: Night) -> None:
    """Save another writer's prediction into the partition that the night replaces."""
    night.client.run(
        f"INSERT INTO {TARGETS[1]} (prediction_id, prediction_type, prediction_date, entity_id)"
        " VALUES ('theirs', 'churn', {day:Date}, 'by hand')",
        {"day": DAY},
    )


VIEW = "raypipe_current_predictions"
