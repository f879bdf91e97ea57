"""Test random histories of runs, resumes, take-overs, pauses, crashes and wrong clocks, statement by statement.

The runs are whole runs without Ray, each in a thread of its own that pauses before every statement. A history lets
them go on in any order. RAYPIPE_TEST_HISTORIES sets the number of histories.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from raypipe.clickhouse import lock, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema import leftovers
from raypipe.data.slices import Slice
from raypipe.score import prepare, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.run import execute, retire_superseded
from raypipe.score.worker import SliceScorer
from tests.faults.few import DAY, SWAP, Died, Night
from tests.faults.nights import TARGETS
from tests.faults.oracle import own_tables

pytestmark = pytest.mark.fast

HISTORIES = int(os.environ.get("RAYPIPE_TEST_HISTORIES", "6"))
STEPS = 12
ACTORS = 3
RUNS_INSERT = re.compile("^`raypipe_runs`")
PATIENCE = 60


class Host(threading.local):
    """The host of a thread: its clock, and the number of its process."""

    offset = timedelta(0)
    pid = 0


HOST = Host()
DEAD: set[int] = set()


class Wrong(datetime):
    """The clock of a host."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + HOST.offset


class Paced:
    """A driver that lets its actor pause before every statement."""

    def __init__(self, driver: Any, pause: Callable[[str], None]) -> None:
        self._driver, self._pause = driver, pause

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._driver, name)
        if name not in ("query", "command", "raw_insert", "raw_stream"):
            return known

        def call(text: str, *arguments: Any, **options: Any) -> Any:
            self._pause(text)
            return known(text, *arguments, **options)

        return call


class Actor:
    """A process that works on a run and goes on when it is told."""

    def __init__(self, night: Night, number: int, manifest: Manifest, offset: timedelta, take_over: bool) -> None:
        self.number, self.manifest, self.pending, self.ended, self.killed = number, manifest, "", False, False
        self._night, self._offset, self._take_over = night, offset, take_over
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self._returned()

    def _work(self) -> None:
        HOST.offset, HOST.pid = self._offset, self.number
        try:
            with Client(self._night.publisher.endpoint) as client:
                client._driver = Paced(client._driver, self._pause)
                execute(
                    client,
                    self.manifest,
                    self._score,
                    take_over=self._take_over,
                    progress=lambda *_: None,
                    monitor=lambda *_: None,
                )
        except BaseException as error:
            self.error: BaseException | None = error
        finally:
            self.ended = True
            self._back.release()

    def _score(self, manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        own = SliceScorer(self._night.publisher.endpoint, manifest, 1)
        for piece in slices:
            yield own.score(piece)

    def _pause(self, text: str) -> None:
        self.pending = text
        self._back.release()
        self._go.acquire()
        if self.killed:
            raise Died

    def _returned(self) -> None:
        assert self._back.acquire(timeout=PATIENCE), f"{self.manifest.run_id} hangs behind {self.pending}"

    def go_on(self, statements: int) -> None:
        for _ in range(statements):
            if self.ended:
                return
            self._go.release()
            self._returned()

    def until(self, pattern: re.Pattern[str]) -> None:
        """Go on until the next statement matches."""
        while not self.ended and not pattern.search(self.pending):
            self.go_on(1)

    def crash(self) -> None:
        self.killed = True
        DEAD.add(self.number)
        while not self.ended:
            self.go_on(1)
        self._thread.join(PATIENCE)


class Histories(RuleBasedStateMachine):
    """A pipeline whose runs pause, crash, are taken over and are resumed."""

    night: ClassVar[Night]
    plan: ClassVar[Manifest]

    def __init__(self) -> None:
        super().__init__()
        self.actors: list[Actor] = []
        self.manifests: list[Manifest] = []
        self.published = False
        self.night.empty()
        self.patch = pytest.MonkeyPatch()
        for module in (prepare, runs, lock):
            self.patch.setattr(module, "datetime", Wrong)
        here = Owner.here
        self.patch.setattr(Owner, "here", lambda run_id: replace(here(run_id), pid=HOST.pid))
        self.patch.setattr(Owner, "is_dead", property(lambda owner: owner.pid in DEAD))

    @property
    def living(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.ended]

    def _begin(self, manifest: Manifest, minutes: int, take_over: bool) -> Actor:
        offset = timedelta(minutes=minutes)
        actor = Actor(self.night, len(self.actors) + 1, manifest, offset, take_over)
        DEAD.discard(actor.number)
        self.actors.append(actor)
        return actor

    @precondition(lambda self: len(self.living) < ACTORS)
    @rule(minutes=st.sampled_from([-10, 0, 10]), take_over=st.booleans())
    def start(self, minutes: int, take_over: bool) -> None:
        self.begin(minutes, take_over)

    def begin(self, minutes: int, take_over: bool) -> Actor:
        """Start a new run on a host with a clock of its own."""
        HOST.offset = timedelta(minutes=minutes)
        run_id = f"churn_{DAY:%Y%m%d}_{len(self.manifests):08x}"
        manifest = replace(self.plan, run_id=run_id, run_at=prepare.run_at(self.night.client, "churn"))
        HOST.offset = timedelta(0)
        self.manifests.append(manifest)
        return self._begin(manifest, minutes, take_over)

    @precondition(lambda self: self.manifests and len(self.living) < ACTORS)
    @rule(index=st.integers(0, 99), minutes=st.sampled_from([-10, 0, 10]), take_over=st.booleans())
    def resume(self, index: int, minutes: int, take_over: bool) -> None:
        self._begin(self.manifests[index % len(self.manifests)], minutes, take_over)

    @precondition(lambda self: self.living)
    @rule(index=st.integers(0, 99), statements=st.integers(1, 80))
    def go_on(self, index: int, statements: int) -> None:
        self._chosen(index).go_on(statements)

    @precondition(lambda self: self.living)
    @rule(index=st.integers(0, 99))
    def pause_before_the_swap(self, index: int) -> None:
        self._chosen(index).until(SWAP)

    @precondition(lambda self: self.living)
    @rule(index=st.integers(0, 99))
    def finish(self, index: int) -> None:
        self._chosen(index).go_on(10_000)

    @precondition(lambda self: self.living)
    @rule(index=st.integers(0, 99))
    def crash(self, index: int) -> None:
        self._chosen(index).crash()

    @rule()
    def clean(self) -> None:
        leftovers.clean(self.night.client)
        retire_superseded(self.night.client)

    def _chosen(self, index: int) -> Actor:
        return self.living[index % len(self.living)]

    @invariant()
    def whole_and_latest(self) -> None:
        """Each target holds one whole run or nothing, and no run before the latest published run."""
        known = {run.run_id: run for run in runs.listed(self.night.client, "churn", limit=1000)}
        committed = [run.sequence for run in known.values() if run.status == runs.PUBLISHED]
        self.published = self.published or bool(committed)
        standing = self.night.versions()
        for rows in standing.values():
            assert len(rows) == self.published or (len(rows) == 1 and not self.published), standing
            assert set(rows.values()) <= {self.plan.source_rows}, standing
        sequences = {run.run_id: run.sequence for run in known.values()}
        sequences |= {f"{run.run_at:%Y-%m-%d %H:%M:%S}": run.sequence for run in known.values()}
        for mark in (*standing[TARGETS[0]], *standing[TARGETS[1]]):
            assert sequences[mark] >= max(committed, default=0), (standing, sequences)

    def teardown(self) -> None:
        try:
            for actor in self.living:
                actor.crash()
            if self.manifests:
                last = self.begin(0, True)
                last.go_on(10_000)
                leftovers.clean(self.night.client)
                self.night.assert_exact(last.manifest)
                assert own_tables(self.night.client) == []
        finally:
            self.patch.undo()


@pytest.fixture(scope="module", autouse=True)
def _night(days: Night) -> None:
    days.empty()
    Histories.night, Histories.plan = days, days.plan()


def test_whatever_happens_one_whole_run_stands_and_the_latest_counts() -> None:
    bounded = settings(
        max_examples=HISTORIES,
        stateful_step_count=STEPS,
        deadline=None,
        # The same histories in every test run, and others with another number.
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Histories, settings=bounded)


def test_without_dropping_the_twins_of_former_owners_a_history_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "drop_former", lambda *_: None)
    history = Histories()
    try:
        slow = history.begin(0, False)
        slow.until(SWAP)
        quick = history.begin(0, True)
        # Its row is written when it opens, is staged, publishes and is committed; the former owner's row is ended, too.
        for _ in range(5):
            quick.until(RUNS_INSERT)
            quick.go_on(1)
        quick.crash()
        history.whole_and_latest()
        slow.go_on(1)
        with pytest.raises(AssertionError):
            history.whole_and_latest()
    finally:
        history.teardown()
