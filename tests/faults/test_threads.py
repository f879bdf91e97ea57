"""Test runs that score on threads: errors on one thread, and signals while all are at work."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import ServerError
from raypipe.score import ledger, runs
from raypipe.score import threads as scoring
from raypipe.score.manifest import Manifest
from raypipe.score.run import PublishedRun
from raypipe.score.threads import Threads
from tests.conftest import FittedPublisher
from tests.faults.actors import PORTION_INSERT, awaited
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, newest, own_tables, planned
from tests.faults.proxy import Proxy, Rule, exception, proxied
from tests.faults.small import DAY, small_publisher
from tests.faults.test_interrupted import finish

USERS = 4000
THREADS = Threads(largest=2, cpus=1, machine=2)
# Only slices are read with a bounded number of threads.
READ = b"max_threads=1"
LEDGER = b"INSERT INTO `raypipe_slices`"
UNKNOWN = exception(9999, "SOMETHING_NEW", "the cup is broken")
PATIENCE = 60


@pytest.fixture(scope="module")
def publisher(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FittedPublisher]:
    """Provide a small publisher whose population is cut into several slices."""
    name = f"raypipe_test_{uuid.uuid4().hex[:12]}"
    with Client(endpoint) as admin:
        admin.run(f"CREATE DATABASE {name}")
        try:
            yield small_publisher(endpoint, name, tmp_path_factory.mktemp("threads"), USERS)
        finally:
            admin.run(f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture
def reader(publisher: FittedPublisher) -> Iterator[Client]:
    with Client(publisher.endpoint) as client:
        yield client


@pytest.fixture
def proxy(publisher: FittedPublisher) -> Iterator[Proxy]:
    with proxied(publisher.endpoint.url) as made:
        yield made


def run(publisher: FittedPublisher, proxy: Proxy, manifest: Manifest) -> PublishedRun:
    """Run in this process through the proxy, on two threads."""
    endpoint = replace(publisher.endpoint, url=proxy.url)
    return in_process(replace(publisher, endpoint=endpoint), manifest, threads=THREADS)


def plan(publisher: FittedPublisher) -> Manifest:
    manifest = planned(publisher, DAY, "score.explain.rows=0")
    assert len(manifest.slicing.slices) > 3
    return manifest


def at_work() -> list[str]:
    """Return the scoring threads of this process."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("raypipe-score-")]


@pytest.mark.fast
def test_all_slices_are_scored_once_on_both_threads(publisher: FittedPublisher, reader: Client, proxy: Proxy) -> None:
    manifest = plan(publisher)
    # The first slice is held until the other thread has done the rest.
    first = proxy.add(Rule(READ, "hold"))
    last = proxy.add(Rule(LEDGER, "pass", skip=len(manifest.slicing.slices) - 2))
    threading.Thread(target=lambda: last.hit.wait(PATIENCE) and first.released.set(), daemon=True).start()
    published = run(publisher, proxy, manifest)
    assert {receipt.slice for receipt in published.receipts} == {piece.index for piece in manifest.slicing.slices}
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)
    assert at_work() == []


@pytest.mark.fast
@pytest.mark.usefixtures("impatient")
def test_an_error_that_passes_costs_one_thread_its_slice_alone(
    publisher: FittedPublisher, reader: Client, proxy: Proxy
) -> None:
    manifest = plan(publisher)
    reads = proxy.add(Rule(READ, "pass", once=False))
    proxy.add(Rule(READ, "cut", skip=2))
    run(publisher, proxy, manifest)
    assert len(reads.hits) == len(manifest.slicing.slices) + 1
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)


def failed(publisher: FittedPublisher, proxy: Proxy) -> Manifest:
    """Provide a run that failed on one thread, while the other was in the middle of a slice."""
    manifest = plan(publisher)
    held = proxy.add(Rule(PORTION_INSERT, "hold", skip=1))
    proxy.add(Rule(PORTION_INSERT, "answer", skip=2, answer=UNKNOWN))
    # An error while the other thread waits for the server.
    threading.Timer(1.0, held.released.set).start()
    with pytest.raises(ServerError, match="the cup is broken"):
        run(publisher, proxy, manifest)
    return manifest


@pytest.mark.fast
def test_an_error_on_one_thread_ends_all_and_fails_the_run_and_a_resume_is_exact(
    publisher: FittedPublisher, reader: Client, proxy: Proxy
) -> None:
    manifest = failed(publisher, proxy)
    assert at_work() == []
    assert runs.find(reader, manifest.run_id).status == runs.FAILED
    assert lock.holder(reader, "churn") is None
    assert manifest.staging in own_tables(reader)
    before = {receipt.slice: receipt.attempt for receipt in ledger.receipts(reader, manifest.run_id)}
    published = in_process(publisher, manifest, threads=THREADS)
    assert before.items() <= {receipt.slice: receipt.attempt for receipt in published.receipts}.items()
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)


@pytest.mark.fast
def test_without_ending_them_the_other_threads_work_on_for_a_failed_run(
    publisher: FittedPublisher, reader: Client, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring._Workers, "end", lambda _: None)
    manifest = failed(publisher, proxy)
    assert at_work() != []
    awaited(lambda: not at_work(), "the end of the threads")
    in_process(publisher, manifest)
    assert_exact(reader, DAY, manifest.run_id)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_at_once_though_both_threads_wait_for_the_server(
    publisher: FittedPublisher, reader: Client, proxy: Proxy, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    through, log = replace(publisher, endpoint=replace(publisher.endpoint, url=proxy.url)), tmp_path / "log"
    held = proxy.add(Rule(PORTION_INSERT, "hold", skip=1, once=False))
    words = ("--set", "ray.cpus=2", "--set", "score.explain.rows=0")
    line = through.command("score", "churn", "--date", DAY.isoformat(), *words)
    with log.open("wb") as stderr:
        process = subprocess.Popen(line, env=through.environment(), stdout=subprocess.DEVNULL, stderr=stderr)
    awaited(lambda: len(held.hits) == 2 or process.poll() is not None, log.read_text())
    sent = time.monotonic()
    process.send_signal(number)
    assert process.wait(PATIENCE) == code, log.read_text()
    assert time.monotonic() - sent < scoring.END_SECONDS + 10
    held.released.set()
    stopped = newest(reader, DAY)
    assert stopped.status == runs.INTERRUPTED
    assert lock.holder(reader, "churn") is None
    document = finish(publisher, "resume", stopped.run_id)
    assert document["run_id"] == stopped.run_id
    assert_exact(reader, DAY, stopped.run_id)
    assert_nothing_left(reader, process)
