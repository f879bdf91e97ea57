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
from tests.faults.small import DAY, small_publisher

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
            if re.match("raypipe_(staging|twin|explain|snapshot|lock)_", table):
                self.client.run(f"DROP TABLE {table} SYNC")
        for table in ("raypipe_runs", "raypipe_slices", "raypipe_rejected_rows", "ml_model_monitoring", *TARGETS):
            self.client.run(f"TRUNCATE TABLE {table}")

    def find(self, run: Manifest | str) -> runs.Run:
        return runs.find(self.client, run if isinstance(run, str) else run.run_id)

    def versions(self) -> dict[str, dict[str, int]]:
        """Return the rows of the day by target, and in the view, and by run."""
        marks = {TARGETS[0]: "toString(created_at)", TARGETS[1]: "batch_id", "raypipe_current_predictions": "batch_id"}
        sql = "SELECT {mark}, count() FROM {table} WHERE prediction_date = {{day:Date}} GROUP BY 1 ORDER BY 1"
        return {
            table: dict(self.client.rows(sql.format(mark=mark, table=table), {"day": DAY}))
            for table, mark in marks.items()
        }

    def assert_exact(self, run: Manifest | str) -> None:
        """Assert that targets and view hold the population once, all of this run."""
        row = self.find(run)
        assert_exact(self.client, DAY, row.run_id)
        count = row.source_rows
        assert self.versions() == {
            TARGETS[0]: {f"{row.run_at:%Y-%m-%d %H:%M:%S}": count},
            TARGETS[1]: {row.run_id: count},
            "raypipe_current_predictions": {row.run_id: count},
        }


def _die(*_: Any) -> None:
    raise Died


@contextmanager
def few_readers(server: Endpoint, folder: Path, schema: str = "raypipe") -> Iterator[Night]:
    """Provide a night with raypipe's own targets or a publisher's monthly ones."""
    place = replace(server, database=f"raypipe_test_{uuid.uuid4().hex[:12]}")
    with Client(server) as admin:
        admin.run(f"CREATE DATABASE {place.database}")
        try:
            with Client(place) as client:
                if schema == "publisher":
                    for table in TARGETS:
                        client.run(target_ddl(client, schema, "", table))
                yield Night(small_publisher(server, place.database, folder), client)
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
