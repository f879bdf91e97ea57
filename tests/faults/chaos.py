"""Inject random faults at random points of whole runs, and compare the published rows with the source.

    python -m tests.faults.chaos --seed 1 --minutes 30 [--url http://default@localhost:8123/default] [--json]

Every choice comes from one `random.Random(seed)` and is made before its run begins, so `--only N` repeats the
N-th run of a seed, as far as processes allow. It uses a database of its own, by default on an embedded engine.
Exit code 1 means that rows were lost or duplicated, that a reader saw a partial run, or that leftovers remained.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import leftovers
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.errors import GateRefused, RaypipeError
from raypipe.score import runs
from raypipe.score.manifest import Manifest
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher, _fresh_database, fit_publisher
from tests.faults.actors import LEDGER_INSERT, RUNS_INSERT, STAGING_INSERT, SWAP, Command, kill, started
from tests.faults.oracle import in_process, own_tables, planned
from tests.faults.proxy import Rule, proxied, reply

DAYS = tuple(PUBLISHER_LAST_DATE - timedelta(days=15 * number) for number in range(5))
# A request's pattern, and how many matches may pass first. Only slices are read with a bounded number of threads.
POINTS = {
    "read": (b"max_threads=1", 8),
    "staging": (STAGING_INSERT, 10),
    "ledger": (LEDGER_INSERT, 8),
    "state": (RUNS_INSERT, 4),
    "explain": (b"INSERT INTO `raypipe_explain_", 1),
    "monitor": (b"INSERT INTO `ml_model_monitoring`", 1),
    "twin": (b"INSERT INTO `raypipe_twin_", 2),
    "swap": (SWAP, 2),
    "lock": (b"CREATE TABLE `raypipe_lock_", 1),
    "drop": (b"DROP TABLE IF EXISTS", 6),
}
# Most of a run is scoring.
WEIGHTS = {"read": 3, "staging": 6, "ledger": 4, "state": 3, "swap": 3}
WIRE = {"cut": "cut", "cut_body": "cut_body", "cut_after": "cut_after", "503": "answer", "503_after": "answer_after"}
CRASHES = ("actor", "actor", "driver", "driver", "interrupt", "asleep")
# The ways to recover a failed run: `score` again or `resume`, each also with --take-over.
NEXT = ("resume", "resume", "score", "score, taking over", "resume, taking over")
LAST = ("score, taking over", "resume, taking over")
LONGEST_SECONDS = 150
MOST_ATTEMPTS = 4


@dataclass(frozen=True)
class Fault:
    """A fault of a request: on the wire, or of a process during the request."""

    kind: str
    point: str
    skip: int
    times: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.point}+{self.skip}" + (f"x{self.times}" if self.times > 1 else "")

    def rule(self) -> Rule:
        """Return the proxy's rule for the fault."""
        action: Any = WIRE.get(self.kind, "hold")
        answer = reply(503, "Service Unavailable") if action.startswith("answer") else b""
        return Rule(POINTS[self.point][0], action, skip=self.skip, times=self.times, answer=answer)


@dataclass(frozen=True)
class Try:
    """A command: its recovery of a failed run, and the fault that hits it."""

    verb: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"{self.verb}({', '.join(str(fault) for fault in self.faults)})"


@dataclass(frozen=True)
class Plan:
    """A run and all its faults, drawn in advance."""

    number: int
    day: date
    is_command: bool
    overrides: tuple[str, ...]
    tries: tuple[Try, ...]
    last: str

    def __str__(self) -> str:
        how = "command" if self.is_command else "in process"
        return f"run {self.number} {self.day} {how} {' '.join(self.overrides)}: " + " ".join(
            [*(str(one) for one in self.tries), self.last]
        )


def drawn(random: Random, number: int) -> Plan:
    """Draw the next plan of a seed."""
    is_command = random.random() < 0.4
    overrides = (
        f"score.slice_rows={random.choice((300, 500, 1500))}",
        f"score.chunk_rows={random.choice((100, 200, 100_000))}",
        f"score.actors.max={random.choice((1, 2))}",
    )
    verbs = ["score", *(random.choice(NEXT) for _ in range(random.randint(0, 2)))]
    tries = tuple(Try(verb, _faults(random, is_command)) for verb in verbs)
    return Plan(number, random.choice(DAYS), is_command, overrides, tries, random.choice(LAST))


def _faults(random: Random, is_command: bool) -> tuple[Fault, ...]:
    names = list(POINTS)
    weights = [WEIGHTS.get(name, 1) for name in names]
    made = []
    for _ in range(random.randint(1, 3)):
        point = random.choices(names, weights)[0]
        kinds = (*WIRE, *CRASHES) if is_command else tuple(WIRE)
        kind = random.choice(kinds)
        times = random.randint(1, 2) if kind in WIRE else 1
        made.append(Fault(kind, point, random.randrange(POINTS[point][1]), times))
    return tuple(made)


@dataclass
class Tally:
    """The results of all runs, for the summary."""

    runs: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    rows_compared: int = 0
    rows_lost: int = 0
    rows_doubled: int = 0
    rows_foreign: int = 0
    reads: int = 0
    wrong_reads: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    tables_left: list[str] = field(default_factory=list)
    processes_left: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Return whether every guarantee held."""
        rows = self.rows_lost + self.rows_doubled + self.rows_foreign
        return not (rows or self.wrong_reads or self.unfinished or self.tables_left or self.processes_left)


class Reader(threading.Thread):
    """Read a day's published rows in a loop. Each read must show the whole old or new run."""

    def __init__(self, endpoint: Endpoint, day: date, rows: int) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._day = day
        self._rows = rows
        self._ended = threading.Event()
        self.reads = 0
        self.wrong: set[str] = set()

    def run(self) -> None:
        sql = (
            "SELECT count(), uniqExact(batch_id) FROM {table} WHERE prediction_type = 'churn' AND"
            " prediction_date = {{day:Date}}"
        )
        seen = dict.fromkeys(("ml_model_predictions", "raypipe_current_predictions"), False)
        with Client(self._endpoint) as client:
            while not self._ended.wait(0.01):
                for table, was_there in seen.items():
                    rows, batches = client.rows(sql.format(table=table), {"day": self._day})[0]
                    self.reads += 1
                    if (rows, batches) == (self._rows, 1):
                        seen[table] = True
                    elif (rows, batches) != (0, 0) or was_there:
                        self.wrong.add(f"{table}: {rows} rows of {batches} runs")

    def end(self) -> None:
        """Wait for the last read."""
        self._ended.set()
        self.join(60)


@dataclass(frozen=True)
class Varied(FittedPublisher):
    """The publisher with a plan's overrides."""

    own: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[str, ...]:
        """Return the config overrides of the plan's commands."""
        return (f"artifacts={self.artifacts}", "score.explain.rows=20", *self.own)


class Chaos:
    """Execute plans on a publisher and count the results."""

    def __init__(self, publisher: FittedPublisher, folder: Path) -> None:
        self._publisher = publisher
        self._folder = folder
        self._noted: set[tuple[str, datetime]] = set()
        self.tally = Tally()

    def carry_out(self, plan: Plan) -> str:
        """Execute a run with its faults, finish it by all means, compare its rows, and return the result."""
        with Client(self._publisher.endpoint) as client, ExitStack() as stack:
            known = {run.run_id for run in _of_day(client, plan.day)}
            reader = Reader(self._publisher.endpoint, plan.day, _population(client, plan.day))
            reader.start()
            stack.callback(reader.end)
            self.tally.runs += 1
            told = [self._attempt(client, stack, plan, one, known) for one in plan.tries[:1]]
            for one in plan.tries[1:]:
                if not _is_done(client, plan.day, known):
                    told.append(self._attempt(client, stack, plan, one, known))
            for _ in range(MOST_ATTEMPTS):
                if _is_done(client, plan.day, known):
                    break
                told.append(self._attempt(client, stack, plan, Try(plan.last, ()), known))
            # Stopped processes wake up now and must not undo anything.
            stack.close()
            if not _is_done(client, plan.day, known):
                self.tally.unfinished.append(f"run {plan.number}")
            # A process killed after its commit left the tables of a finished run.
            leftovers.clean(client)
            self._compare(client, plan, known)
            self.tally.reads += reader.reads
            self.tally.wrong_reads += [f"run {plan.number}: {wrong}" for wrong in sorted(reader.wrong)]
            return ", ".join(told)

    def _attempt(self, client: Client, stack: ExitStack, plan: Plan, one: Try, known: set[str]) -> str:
        """Execute a command or a run in this process, and return its verb and its end."""
        run = _unfinished(client, plan.day, known)
        verb = one.verb if run is not None else one.verb.replace("resume", "score")
        self.tally.attempts[verb] += 1
        with ExitStack() as own:
            # A stopped process holds its proxy until the end.
            until = stack if any(fault.kind == "asleep" for fault in one.faults) else own
            proxy = until.enter_context(proxied(self._publisher.endpoint.url))
            endpoint = replace(self._publisher.endpoint, url=proxy.url)
            through = Varied(endpoint, self._publisher.artifacts, plan.overrides)
            rules = [(fault, proxy.add(fault.rule())) for fault in one.faults]
            if plan.is_command:
                end = self._command(until, through, plan, verb, run, rules)
            else:
                end = self._in_process(through, plan, verb, run)
            for fault, rule in rules:
                if fault.kind in WIRE:
                    self.tally.faults.update([fault.kind] * len(rule.hits))
        self._note(client, plan, known)
        return f"{verb}: {end}"

    def _command(
        self,
        stack: ExitStack,
        through: Varied,
        plan: Plan,
        verb: str,
        run: runs.Run | None,
        rules: Sequence[tuple[Fault, Rule]],
    ) -> str:
        arguments = ["score", "churn", "--date", str(plan.day)]
        if verb.startswith("resume") and run:
            arguments = ["resume", run.run_id]
        if verb.endswith("taking over"):
            arguments.append("--take-over")
        log = self._folder / f"{plan.number}.log"
        command = stack.enter_context(self._started(through, log, arguments, plan))
        stack.callback(lambda: [rule.released.set() for _, rule in rules])
        waiting = {id(rule): (fault, rule) for fault, rule in rules if fault.kind not in WIRE}
        until = time.monotonic() + LONGEST_SECONDS
        while command.process.poll() is None:
            if time.monotonic() > until:
                self.tally.unfinished.append(f"run {plan.number}: {' '.join(arguments)} did not end")
                return "did not end"
            for fault, rule in list(waiting.values()):
                if rule.hit.wait(0.05 / len(waiting)):
                    del waiting[id(rule)]
                    self.tally.faults[fault.kind] += self._strike(command, fault)
                    if fault.kind == "asleep":
                        return "asleep"
                    rule.released.set()
            if not waiting:
                with suppress(subprocess.TimeoutExpired):
                    command.process.wait(0.1)
        return f"exit {command.process.returncode}"

    def _strike(self, command: Command, fault: Fault) -> int:
        """Apply a fault to the processes of a command, and return their number."""
        if fault.kind == "actor":
            actors = command.actors
            kill(actors)
            return len(actors)
        if fault.kind == "driver":
            kill([command.process.pid])
        elif fault.kind == "interrupt":
            command.process.send_signal(signal.SIGINT)
        return 1

    @contextmanager
    def _started(self, through: Varied, log: Path, arguments: Sequence[str], plan: Plan) -> Iterator[Command]:
        with started(through, log, *arguments) as command:
            yield command
            # A stopped process ends by itself once its request continues.
            with suppress(subprocess.TimeoutExpired):
                command.process.wait(LONGEST_SECONDS)
            try:
                command.gone()
            except AssertionError as left:
                self.tally.processes_left.append(f"run {plan.number}: {left}")

    def _in_process(self, through: Varied, plan: Plan, verb: str, run: runs.Run | None) -> str:
        manifest = Manifest.from_json(run.manifest) if verb.startswith("resume") and run else None
        try:
            manifest = manifest or planned(replace(through, endpoint=self._publisher.endpoint), plan.day)
            # The lock of an earlier attempt names this process, which is alive.
            in_process(through, manifest, take_over=True)
        except RaypipeError as error:
            return "refused" if isinstance(error, GateRefused) else "failed"
        return "published"

    def _note(self, client: Client, plan: Plan, known: set[str]) -> None:
        """Count the end of an attempt that did not publish."""
        for run in _of_day(client, plan.day):
            this = (run.run_id, run.updated_at)
            if (
                run.run_id not in known
                and run.status in (runs.REFUSED, runs.FAILED, runs.INTERRUPTED)
                and this not in self._noted
            ):
                self._noted.add(this)
                said = run.error.splitlines()[0] if run.error else "no reason"
                what = _ADDRESS.sub("URL", said.replace(run.run_id, "RUN"))[:160]
                (self.tally.refused if run.status == runs.REFUSED else self.tally.failed)[what] += 1

    def _compare(self, client: Client, plan: Plan, known: set[str]) -> None:
        lost, foreign, joined, distinct, batches, batch = _joined(client, plan.day)
        committed = [run for run in _of_day(client, plan.day) if run.status == runs.PUBLISHED]
        current = max(committed, key=lambda run: run.published_at).run_id if committed else "none"
        self.tally.rows_compared += joined
        self.tally.rows_lost += lost
        self.tally.rows_foreign += foreign
        self.tally.rows_doubled += joined - distinct
        if current != batch or batch in known or batches != 1:
            said = f"{batches} runs in the target, {batch}, while {current} is current"
            self.tally.unfinished.append(f"run {plan.number}: {said}")
        sql = "SELECT count(), uniqExact(company_id, brand_id, user_id) FROM customer_churn_predictions"
        rows, keys = client.rows(f"{sql} WHERE prediction_date = {{day:Date}}", {"day": plan.day})[0]
        self.tally.rows_lost += max(0, distinct - keys)
        self.tally.rows_doubled += rows - keys
        self.tally.tables_left += [f"run {plan.number}: {name}" for name in own_tables(client)]


_ADDRESS = re.compile(r"\bhttps?://\S+")
_JOINED = """
SELECT countIf(isNull(p.entity_id)), countIf(isNull(s.user_id)), count(),
    uniqExact(s.company_id, s.brand_id, s.user_id), uniqExact(p.batch_id), any(p.batch_id)
FROM (
    SELECT company_id, brand_id, user_id FROM customer_user_features
    WHERE feature_date = {day:Date} AND active_last_30_days = 1
) AS s
FULL JOIN (
    SELECT company_id, brand_id, entity_id, batch_id FROM ml_model_predictions
    WHERE prediction_type = 'churn' AND prediction_date = {day:Date}
) AS p ON p.company_id = s.company_id AND p.brand_id = s.brand_id AND p.entity_id = s.user_id
"""


def _joined(client: Client, day: date) -> tuple[Any, ...]:
    return client.rows(_JOINED, {"day": day}, {"join_use_nulls": 1})[0]


def _population(client: Client, day: date) -> int:
    sql = "SELECT count() FROM customer_user_features WHERE feature_date = {day:Date} AND active_last_30_days = 1"
    return int(client.value(sql, {"day": day}))


def _of_day(client: Client, day: date) -> list[runs.Run]:
    """Return the day's runs, newest first."""
    found = [run for run in runs.listed(client, "churn", limit=100_000) if run.date == day]
    # Two runs may begin within a second.
    return sorted(found, key=lambda run: (run.started_at, run.updated_at), reverse=True)


def _is_done(client: Client, day: date, known: set[str]) -> bool:
    """Return whether a run of the plan was published."""
    return any(run.status == runs.PUBLISHED and run.run_id not in known for run in _of_day(client, day))


def _unfinished(client: Client, day: date, known: set[str]) -> runs.Run | None:
    """Return the plan's newest run that can be resumed."""
    over = (runs.PUBLISHED, runs.SUPERSEDED)
    return next((run for run in _of_day(client, day) if run.run_id not in known and run.status not in over), None)


@contextmanager
def made(url: str | None, folder: Path) -> Iterator[FittedPublisher]:
    """Create a small publisher in a database of its own, and drop it at the end."""
    with ExitStack() as stack:
        server = Endpoint.parse(url) if url else stack.enter_context(open_embedded(folder / "clickhouse")).endpoint
        endpoint = stack.enter_context(_fresh_database(server))
        with Client(endpoint) as client:
            migrate(client)
        yield fit_publisher(endpoint, folder / "artifacts")


def summary(seed: int, seconds: float, url: str | None, tally: Tally) -> dict[str, Any]:
    """Return the tally as a document."""
    return {
        "seed": seed,
        "endpoint": url or "embedded engine",
        "seconds": round(seconds),
        "runs_started": tally.runs,
        "commands": dict(tally.attempts),
        "faults_injected": {"all": tally.faults.total(), **dict(tally.faults.most_common())},
        "rows_compared": tally.rows_compared,
        "rows_lost": tally.rows_lost,
        "rows_doubled": tally.rows_doubled,
        "rows_of_nobody": tally.rows_foreign,
        "reads": tally.reads,
        "wrong_reads": tally.wrong_reads,
        "refused_to_publish": dict(tally.refused.most_common()),
        "failed": dict(tally.failed.most_common()),
        "not_published_in_the_end": tally.unfinished,
        "tables_left": tally.tables_left,
        "processes_left": tally.processes_left,
        "kept": tally.is_good,
    }


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description="Random faults, and the oracle.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--url", help="a ClickHouse to test against; without it, an embedded engine")
    parser.add_argument("--only", type=int, help="repeat this run of the seed alone")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on stdout")
    options = parser.parse_args()
    random = Random(options.seed)
    with TemporaryDirectory(prefix="raypipe-chaos-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with made(options.url, folder) as publisher:
            chaos = Chaos(publisher, folder)
            began = time.monotonic()
            number = 0
            while time.monotonic() - began < 60 * options.minutes:
                number += 1
                plan = drawn(random, number)
                if options.only not in (None, number):
                    continue
                started_at = time.monotonic()
                print(f"seed {options.seed} {plan}", file=sys.stderr, flush=True)
                said = chaos.carry_out(plan)
                print(f"    {said} in {time.monotonic() - started_at:.1f} s", file=sys.stderr, flush=True)
                if number == options.only:
                    break
            document = summary(options.seed, time.monotonic() - began, options.url, chaos.tally)
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        for key, value in document.items():
            print(f"{key}: {value}")
    return 0 if chaos.tally.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
