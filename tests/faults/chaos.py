"""Throw random faults at whole runs, and compare views, targets and source after each round.

    python -m tests.faults.chaos --seed 1 2 3 --minutes 10 [--engine PYTHON] [--only N] [--without GUARD]

A round runs some commands as processes, with faults at random requests: connections cut, SIGKILL, SIGTERM, SIGINT,
SIGSTOP while another command takes over, the server killed and started again, `doctor --clean`, a source that is
computed anew, clocks that are minutes or a day wrong. Then it calms down as the commands themselves advise.
Readers loop over the views all the time.

The faults of a round follow from seed and number alone, so that `--only N` repeats a round, as far as processes allow.
Exit code 1 means that rows were lost, doubled or mixed, that a read was wrong, or that something was stranded.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from raypipe.clickhouse import retry
from tests.faults.chaos_judge import VIEWS, ZEROS, Reader, Tally
from tests.faults.chaos_plans import drawn
from tests.faults.chaos_rounds import Chaos
from tests.faults.disturbed import GUARDS
from tests.faults.few import few_readers
from tests.faults.servers import Embedded
from tests.faults.small import USERS
from tests.integration.conftest import SNAPSHOTS
from tests.versions.bridged import Bridged

SCHEMAS = ("raypipe", "publisher")


def storm(seed: int, options: argparse.Namespace) -> Tally:
    """Carry out the rounds of a seed on a server of their own, and print the summary."""
    tally, began = Tally(), time.monotonic()
    schema = options.targets or SCHEMAS[seed % len(SCHEMAS)]
    with TemporaryDirectory(prefix="raypipe-chaos-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        server = open_server(options.engine, folder / "server")
        stack.callback(server.stop)
        night = stack.enter_context(few_readers(server.start(), folder, schema))
        version = night.client.version
        chaos = Chaos(night.publisher, server, folder, tally, options.without or "")
        for day in SNAPSHOTS:
            chaos.publish(day)
        began = time.monotonic()
        readers = [Reader(night.publisher.endpoint, view, SNAPSHOTS, USERS) for view in VIEWS]
        for reader in readers:
            reader.start()
            stack.callback(reader.end)
        for number in [options.only] if options.only else range(1, options.rounds + 1):
            if time.monotonic() - began > 60 * options.minutes:
                break
            carry_out(chaos, seed, number, options.ray)
        for reader in readers:
            reader.report(tally)
    print(summary(seed, f"ClickHouse {version}, {schema} tables", time.monotonic() - began, tally), flush=True)
    for line in tally.history:
        print(f"seed {seed} {line}", flush=True)
    return tally


def open_server(python: str | None, folder: Path) -> Embedded | Bridged:
    """Return a server on a folder: an embedded engine, or the older version of an interpreter."""
    folder.mkdir()
    return Bridged(python, folder) if python else Embedded(folder)


def carry_out(chaos: Chaos, seed: int, number: int, ray_share: float) -> None:
    """Carry out a round, and print its history on stderr."""
    plan, began, known = drawn(seed, number, ray_share), time.monotonic(), len(chaos.tally.history)
    print(f"seed {seed} {plan}", file=sys.stderr, flush=True)
    ends = chaos.carry_out(plan)
    print(f"    {ends} in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    for line in chaos.tally.history[known:]:
        print(f"    {line}", file=sys.stderr, flush=True)


def summary(seed: int, what: str, seconds: float, tally: Tally) -> str:
    """Return the line of a seed."""
    faults = ", ".join(f"{kind} {times}" for kind, times in tally.faults.most_common())
    zeros = ", ".join(f"{kind} {tally.wrong[kind]}" for kind in ZEROS)
    return (
        f"seed {seed}, {what}, {seconds:.0f} s, {tally.rounds} rounds, {tally.commands.total()} commands,"
        f" {tally.faults.total()} faults ({faults}), {tally.rows} rows compared, {tally.reads} reads"
        f" ({tally.unanswered} unanswered): {zeros}"
    )


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description="Random faults, and a judge.")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=5.0, help="for each seed")
    parser.add_argument("--rounds", type=int, default=1_000_000, help="at most, for each seed")
    parser.add_argument("--only", type=int, metavar="N", help="run the N-th round of the seeds alone")
    parser.add_argument(
        "--engine", metavar="PYTHON", help="the interpreter of an older version, see tests.versions.run"
    )
    parser.add_argument(
        "--targets", choices=SCHEMAS, help="the target tables; without it, they alternate with the seed"
    )
    parser.add_argument("--ray", type=float, default=0.05, metavar="SHARE", help="the share of rounds on Ray")
    parser.add_argument("--without", choices=sorted(GUARDS), help="switch a guard off, so that the end must be 1")
    options = parser.parse_args()
    # Readers look again at once when a killed server is back.
    retry.FIRST_PAUSE_SECONDS, retry.LONGEST_PAUSE_SECONDS = 0.02, 0.2
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    tallies = [storm(seed, options) for seed in options.seed]
    return 1 if any(tally.wrong for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
