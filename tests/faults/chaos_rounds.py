"""Carry out rounds of chaos: commands as processes, and faults at their requests."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

from raypipe.cli.doctor import _clean as clean
from raypipe.clickhouse.client import Client
from raypipe.errors import RaypipeError
from raypipe.score import runs, strays
from tests.conftest import FittedPublisher
from tests.faults.actors import Command, kill, started
from tests.faults.chaos_judge import STATE, Tally, compare
from tests.faults.chaos_plans import TAKING_OVER, WIRE, Fault, Round, Try
from tests.faults.disturbed import AHEAD, WITHOUT
from tests.faults.forked import forked
from tests.faults.oracle import own_tables
from tests.faults.proxy import Proxy, Rule, proxied
from tests.faults.servers import FEATURES, Embedded
from tests.integration.conftest import SNAPSHOTS
from tests.versions.bridged import Bridged

LONGEST_SECONDS = 120
SIGNALS = {"terminate": signal.SIGTERM, "interrupt": signal.SIGINT}
SETTLED = (runs.PUBLISHED, runs.SUPERSEDED)
UNEXPECTED = re.compile(r"an unexpected \w+|Traceback")

T = TypeVar("T")


@dataclass(frozen=True)
class Disturbed(FittedPublisher):
    """The publisher, whose commands have a round's overrides and run in tests.faults.disturbed."""

    own: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[str, ...]:
        """Return the config overrides of the round's commands."""
        return (f"artifacts={self.artifacts}", *self.own)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        line = super().command(*arguments)
        line[2] = "tests.faults.disturbed"
        return line if arguments[0] != "doctor" else [*line[:3], *arguments, "--json"]


@dataclass
class Running:
    """A command at work, with the proxy's rules of its faults."""

    command: Command
    proxy: Proxy
    rules: list[tuple[Fault, Rule]]


class Chaos:
    """Carry out rounds on a publisher and its server, and count the results."""

    def __init__(
        self, publisher: FittedPublisher, server: Embedded | Bridged, folder: Path, tally: Tally, without: str
    ) -> None:
        self._publisher = publisher
        self._server = server
        self._folder = folder
        self._without = without
        self._state = dict.fromkeys(SNAPSHOTS, 0)
        # Days with a run or another source since they were calm.
        self._touched: set[date] = set()
        self._logs = count()
        self._plan: Round | None = None
        self.tally = tally

    def carry_out(self, plan: Round) -> str:
        """Run a round's commands with their faults; then calm down, and compare all days."""
        self._plan = plan
        self.tally.rounds += 1
        ends = [self._attempt(one) for one in plan.tries]
        with Client(self._publisher.endpoint) as client:
            ends += [self._calm(client, plan, day) for day in sorted(self._touched)]
            self._touched.clear()
            self._judge(client)
        return ", ".join(ends)

    def publish(self, day: date) -> None:
        """Publish a day without a fault."""
        self._plan = Round(0, False, (), (), "score", False)
        end = self._run(Try("score", day, 0))
        assert end.code == 0, end.said

    def _attempt(self, one: Try) -> str:
        end = self._run(one)
        return f"{one.verb} {one.day:%d}: {end.code}"

    def _run(self, one: Try) -> End:
        """Run a command to its end, striking it with its faults."""
        assert self._plan is not None
        self._revive()
        arguments = self._arguments(one)
        self._touched.add(one.day)
        self.tally.commands[arguments[0] + (TAKING_OVER if one.takes_over else "")] += 1
        with self._started(arguments, one.ahead, one.faults) as running:
            end = self._watched(running, " ".join(arguments))
            for fault, rule in running.rules:
                if fault.kind in WIRE and rule.hits:
                    self.tally.faults[fault.kind] += len(rule.hits)
        return end

    @property
    def _where(self) -> str:
        return f"round {self._plan.number if self._plan else 0}"

    def _arguments(self, one: Try) -> list[str]:
        verb = one.verb.removesuffix(TAKING_OVER)
        words = [verb, "churn", "--date", one.day.isoformat()]
        if verb == "resume":
            with Client(self._publisher.endpoint) as client:
                run = _resumable(client, one.day)
            words = ["resume", run.run_id] if run else ["score", *words[1:]]
        return [*words, "--take-over"] if one.takes_over else words

    @contextmanager
    def _started(self, arguments: Sequence[str], ahead: int, faults: Sequence[Fault]) -> Iterator[Running]:
        assert self._plan is not None
        log = self._folder / f"{next(self._logs)}.log"
        variables = {AHEAD: str(ahead), WITHOUT: self._without}
        with proxied(self._publisher.endpoint.url) as proxy:
            endpoint = replace(self._publisher.endpoint, url=proxy.url)
            through = Disturbed(endpoint, self._publisher.artifacts, self._plan.overrides)
            rules = [(fault, proxy.add(fault.rule())) for fault in faults]
            with self._process(through, log, arguments, variables) as command:
                try:
                    yield Running(command, proxy, rules)
                finally:
                    for _, rule in rules:
                        rule.released.set()

    def _process(
        self, through: Disturbed, log: Path, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> AbstractContextManager[Command]:
        if self._plan and self._plan.is_on_ray:
            return started(through, log, *arguments, **variables)
        return forked(log, through.command(*arguments), {**through.environment(), **variables})

    def _watched(self, running: Running, what: str) -> End:
        """Strike with each fault once its request comes, until the command ends."""
        waiting = [(fault, rule) for fault, rule in running.rules if fault.kind not in WIRE]
        until = time.monotonic() + LONGEST_SECONDS
        process = running.command.process
        while process.poll() is None and time.monotonic() < until:
            struck = next(((fault, rule) for fault, rule in waiting if rule.hit.is_set()), None)
            if struck is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
                continue
            waiting.remove(struck)
            self._strike(running, *struck)
            # A fault may have taken the time of many commands.
            until = time.monotonic() + LONGEST_SECONDS
        end = End(process.poll(), running.command.said[-3000:])
        if end.code is None:
            self.tally.blame("stranded", f"{self._where}, {what} did not end in {LONGEST_SECONDS} s: {end.said}")
        if UNEXPECTED.search(end.said):
            self.tally.blame("unexpected", f"{self._where}, {what}: {end.said}")
        return end

    def _strike(self, running: Running, fault: Fault, rule: Rule) -> None:
        self.tally.faults[fault.kind] += 1
        if fault.goes_on:
            rule.released.set()
        try:
            self._act(running.command, fault)
        finally:
            rule.released.set()

    def _act(self, command: Command, fault: Fault) -> None:
        if fault.kind in SIGNALS:
            command.process.send_signal(SIGNALS[fault.kind])
        elif fault.kind == "kill":
            kill([command.process.pid])
        elif fault.kind == "actor":
            kill(command.actors)
        elif fault.kind == "restart":
            time.sleep(fault.delay / 1000)
            self._server.kill()
            self._server.start()
        elif fault.kind == "clean":
            self._doctor()
        elif fault.kind == "recompute":
            self._recompute()
        elif fault.rival is not None:
            self._take_over(command, fault, fault.rival)

    def _take_over(self, command: Command, fault: Fault, rival: Try) -> None:
        """Let a rival run to its end while the command is stopped, or goes on."""
        is_stopped = fault.kind == "pause"
        if is_stopped:
            command.process.send_signal(signal.SIGSTOP)
        try:
            self._run(rival)
        finally:
            if is_stopped and command.process.poll() is None:
                command.process.send_signal(signal.SIGCONT)

    def _doctor(self) -> None:
        self.tally.commands["doctor --clean"] += 1
        with self._started(["doctor", "--clean"], 0, ()) as running:
            self._watched(running, "doctor --clean")

    def _recompute(self) -> None:
        """Give every entity of all days other values, as another process would."""
        with Client(self._publisher.endpoint) as client:
            for day in SNAPSHOTS:
                self._touched.add(day)
                state = self._state[day] = self._state[day] + 1
                sql = (
                    f"ALTER TABLE {FEATURES} UPDATE total_sessions = total_sessions % {STATE} + {STATE} * {state},"
                    f" days_since_last_session = (toUInt32(user_feature_id) + 15 * {state}) % 29"
                    f" WHERE feature_date = '{day}'"
                )
                _insisted(partial(client.run, sql, settings={"mutations_sync": 1}))

    def _calm(self, client: Client, plan: Round, day: date) -> str:
        """Publish a day, as the commands themselves advise: with one `doctor --clean` and one take-over at most."""
        if plan.ending == "resume" and _resumable(client, day):
            end = self._run(Try("resume", day, 0))
            if end.code == 0:
                return f"resumed {day:%d}"
        said = []
        steps = ("clean", TAKING_OVER) if plan.cleans_first else (TAKING_OVER, "clean")
        for step in ("", *steps):
            if step == "clean":
                self._doctor()
            end = self._run(Try(f"score{step.removeprefix('clean')}", day, 0))
            if end.code == 0:
                return f"scored {day:%d}{step}"
            said.append(end.said)
        self.tally.blame("stranded", f"{self._where}, {day}: " + "\n".join(said))
        return f"stranded {day:%d}"

    def _revive(self) -> None:
        """Start an older version again that has ended by itself, which is a fault more."""
        if isinstance(self._server, Bridged) and (died := self._server.died):
            print(f"{self._where}: the server ended by itself: {died}", file=sys.stderr, flush=True)
            self.tally.faults["server died"] += 1
            self._server.start()

    def _judge(self, client: Client) -> None:
        self._revive()
        clean(self._publisher.endpoint)
        for day in SNAPSHOTS:
            compare(client, self.tally, day, self._state[day], self._where)
        for table in own_tables(client):
            self.tally.blame("stranded", f"{self._where}: the table {table} is left")
        for finding in strays.find(client):
            self.tally.blame("doubled" if finding.is_stray else "lost", f"{self._where}: {finding}")


@dataclass(frozen=True)
class End:
    """The end of a command: its exit code, None where it goes on, and its stderr."""

    code: int | None
    said: str


def _resumable(client: Client, day: date) -> runs.Run | None:
    """Return the day's newest run that is not finished."""
    of_day = [run for run in runs.history(client) if run.date == day]
    newest = max(of_day, key=lambda run: run.sequence, default=None)
    return newest if newest and newest.status not in SETTLED else None


def _insisted(act: Callable[[], T], seconds: float = 60) -> T:
    """Act until it succeeds: the server may be on its way up."""
    until = time.monotonic() + seconds
    while True:
        try:
            return act()
        except RaypipeError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
