"""Run the nights of the small publisher, with pauses, deaths and wrong clocks."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.score import prepare, runs
from raypipe.score.manifest import Manifest
from tests.conftest import FittedPublisher
from tests.faults.nights import TARGETS, once, target_ddl
from tests.faults.oracle import assert_exact, in_process, planned
from tests.faults.small import DAY, USERS, small_publisher

VIEWS = ("raypipe_current_customer_churn_predictions", "raypipe_current_predictions")
SWAP = re.compile(r"ALTER TABLE .* (REPLACE|MOVE) PARTITION ID")


class Died(BaseException):
    """The end of a process, which no handler of an error sees."""


@dataclass(frozen=True)
class Night:
    """A database with all tables, a snapshot and a champion of churn."""

    publisher: FittedPublisher
    client: Client

    def plan(self, *overrides: str) -> Manifest:
        return planned(self.publisher, DAY, "score.explain.rows=0", *overrides)

    def run(self, manifest: Manifest, *, take_over: bool = False) -> str:
        return in_process(self.publisher, manifest, take_over=take_over).run.run_id

    def score(self) -> str:
        return self.run(self.plan())

    def dies(self, manifest: Manifest, owner: Any, name: str) -> None:
        """Run until a function is called, at which the process dies."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, _die)
            with pytest.raises(Died):
                self.run(manifest)

    def empty(self) -> None:
        """Forget every run."""
        for (table,) in self.client.rows("SHOW TABLES"):
            if re.match("raypipe_(staging|portion|twin|explain|snapshot|previous|lock)_", table):
                self.client.run(f"DROP TABLE {table} SYNC")
        for table in ("raypipe_runs", "raypipe_slices", "raypipe_rejected_rows", "ml_model_monitoring", *TARGETS):
            self.client.run(f"TRUNCATE TABLE {table}")

    def find(self, run: Manifest | str) -> runs.Run:
        return runs.find(self.client, run if isinstance(run, str) else run.run_id)

    def versions(self) -> dict[str, dict[str, int]]:
        """Return the rows of the day by run, of each target and of its view."""
        runs_of_day = {f"{run.run_at:%Y-%m-%d %H:%M:%S}": run.run_id for run in runs.listed(self.client, limit=1000)}
        sql = "SELECT {mark}, count() FROM {table} WHERE prediction_date = {{day:Date}} GROUP BY 1 ORDER BY 1"
        found = {}
        for table in (*TARGETS, *VIEWS):
            mark = "toString(created_at)" if "churn" in table else "batch_id"
            rows = self.client.rows(sql.format(mark=mark, table=table), {"day": DAY})
            found[table] = {runs_of_day.get(run, run): count for run, count in rows}
        return found

    def seen(self) -> dict[str, int]:
        """Return the rows of the day by run that readers of the views see, the same in each view."""
        versions = self.versions()
        first, second = (versions[view] for view in VIEWS)
        assert first == second, versions
        return first

    def assert_exact(self, run: Manifest | str) -> None:
        """Assert that targets and views hold the population once, all of this run."""
        row = self.find(run)
        assert_exact(self.client, DAY, row.run_id)
        count = row.source_rows
        assert self.versions() == {table: {row.run_id: count} for table in (*TARGETS, *VIEWS)}


def _die(*_: Any, **options: Any) -> None:
    raise Died


@contextmanager
def few_readers(server: Endpoint, folder: Path, schema: str = "raypipe", users: int = USERS) -> Iterator[Night]:
    """Provide a night with raypipe's own targets or a publisher's monthly ones."""
    place = replace(server, database=f"raypipe_test_{uuid.uuid4().hex[:12]}")
    with Client(server) as admin:
        admin.run(f"CREATE DATABASE {place.database}")
        try:
            with Client(place) as client:
                if schema == "publisher":
                    for table in TARGETS:
                        client.run(target_ddl(client, schema, "", table))
                yield Night(small_publisher(server, place.database, folder, users), client)
        finally:
            admin.run(f"DROP DATABASE IF EXISTS {place.database} SYNC")


@contextmanager
def clock(offset: timedelta) -> Iterator[None]:
    """Inside, the clock of this host is wrong."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + offset

    with pytest.MonkeyPatch.context() as patch:
        for module in (prepare, runs, lock):
            patch.setattr(module, "datetime", Wrong)
        yield


def before_sending(patch: pytest.MonkeyPatch, pattern: re.Pattern[str], act: Callable[[], object]) -> None:
    """Act before the first statement that matches is sent, and behind every look of the sender."""
    real, due = Client.run, once(act)

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if pattern.match(sql):
            due()
        real(self, sql, *arguments, **options)

    patch.setattr(Client, "run", run)
