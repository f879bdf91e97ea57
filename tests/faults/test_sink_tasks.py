"""Test write tasks of a real Ray that are killed, with `raypipe.ClickHouseSink` and with Ray's own sink."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pytest
import ray.data
import ray.exceptions
from ray.data import SinkMode

from raypipe.clickhouse.client import Client
from raypipe.cluster.worker_errors import plain_errors
from raypipe.dataset import journal
from raypipe.dataset.sink import ClickHouseSink
from raypipe.errors import ConfigError, DataError, UsageError
from tests.faults.actors import awaited, descendants, processes
from tests.faults.oracle import own_tables
from tests.faults.proxy import Proxy, Rule
from tests.faults.sinks import (
    INSERT,
    ROWS,
    RUN,
    TARGET,
    assert_whole,
    blocks,
    sink,
    status,
    written,
)

# A worker dies before, in the middle of or after its insert.
MOMENTS = {"before": ("hold", "cut"), "inside": ("hold", "cut_body"), "after": ("hold_answer",), "late": ("hold",)}
BUILT_IN = f"INSERT INTO `{TARGET}`".encode()


@pytest.fixture
def program(ray_session: None) -> Callable[[Callable[[ray.data.Dataset], None]], None]:
    """Run a program in which Ray computes rows in tasks and hands them to `write`."""

    def run(write: Callable[[ray.data.Dataset], None]) -> None:
        dataset = ray.data.from_arrow(blocks()).map_batches(_as_they_are, batch_format="pyarrow")
        with plain_errors():
            write(dataset)

    return run


def _as_they_are(batch: pa.Table) -> pa.Table:
    return batch


def writers() -> list[int]:
    """Return the processes of this Ray's write tasks."""
    return [pid for pid, title in descendants(os.getpid()).items() if title.startswith("ray::") and "Write" in title]


def killed(proxy: Proxy, pattern: bytes, moment: str, work: Callable[[], None]) -> None:
    """Kill the workers of a program's write tasks once, at an insert, and wait for the program."""
    rule, *_ = [proxy.add(Rule(pattern, action)) for action in MOMENTS[moment]]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            awaited(lambda: rule.hit.is_set() or running.done(), "an insert")
            assert not running.done(), running.exception()
            dead = awaited(writers, "a worker that writes")
            for pid in dead:
                os.kill(pid, signal.SIGKILL)
            awaited(lambda: not set(dead) & {pid for pid, *_ in processes()}, "the end of the workers")
        finally:
            rule.released.set()
        running.result()


@pytest.mark.parametrize("moment", ["before", "inside", pytest.param("after", marks=pytest.mark.fast), "late"])
def test_a_task_that_is_killed_around_its_insert_is_repeated_and_adds_its_rows_once(
    program: Callable[..., None], target: Client, proxy: Proxy, moment: str
) -> None:
    killed(proxy, INSERT, moment, lambda: program(lambda rows: rows.write_datasink(sink(target, through=proxy))))
    assert_whole(target)
    assert status(target) == journal.PUBLISHED


@pytest.mark.fast
def test_rays_own_write_clickhouse_adds_rows_twice_under_the_same_kill(
    program: Callable[..., None], target: Client, proxy: Proxy
) -> None:
    dsn = built_in(target, proxy)
    killed(
        proxy, BUILT_IN, "after", lambda: program(lambda rows: rows.write_clickhouse(TARGET, dsn, mode=SinkMode.APPEND))
    )
    assert set(written(target)) == set(range(ROWS))
    assert sum(written(target).values()) > ROWS


def test_rays_own_write_clickhouse_leaves_some_rows_of_a_program_that_fails(
    program: Callable[..., None], target: Client, proxy: Proxy
) -> None:
    with pytest.raises(ray.exceptions.RayError):
        program(
            lambda rows: rows.map_batches(_fails_late, batch_format="pyarrow").write_clickhouse(
                TARGET, built_in(target, proxy), mode=SinkMode.APPEND
            )
        )
    assert 0 < sum(written(target).values()) < ROWS


@pytest.mark.fast
def test_a_program_that_fails_leaves_nothing(program: Callable[..., None], target: Client) -> None:
    with pytest.raises(ray.exceptions.RayError):
        program(lambda rows: rows.map_batches(_fails_late, batch_format="pyarrow").write_datasink(sink(target)))
    assert not written(target)
    assert own_tables(target) == []
    assert status(target) in (journal.FAILED, "")


def _fails_late(batch: pa.Table) -> pa.Table:
    if batch.column("id")[-1].as_py() == ROWS - 1:
        raise ZeroDivisionError("a bug of the program")
    return batch


def built_in(client: Client, proxy: Proxy) -> str:
    """Return the address of the target in the form of Ray's connector, which carries the password."""
    end = client.endpoint
    secret = f":{quote(end.password(), safe='')}" if end.password() else ""
    return f"clickhouse+http://{quote(end.user)}{secret}@{urlsplit(proxy.url).netloc}/{end.database}"


@pytest.mark.fast
def test_a_published_run_is_written_once(
    program: Callable[..., None], target: Client, caplog: pytest.LogCaptureFixture
) -> None:
    program(lambda rows: rows.write_datasink(sink(target)))
    program(lambda rows: rows.write_datasink(sink(target)))
    assert "this write changed nothing" in caplog.text
    assert_whole(target)


@pytest.mark.fast
def test_a_dataset_without_rows_is_a_run_without_rows(ray_session: None, target: Client) -> None:
    ray.data.from_arrow(blocks()).filter(lambda row: False).write_datasink(sink(target))
    assert not written(target)
    assert status(target) == journal.PUBLISHED
    assert own_tables(target) == []


@pytest.mark.fast
def test_blocks_that_ray_would_leave_out_are_refused(
    program: Callable[..., None], target: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray.data.DataContext.get_current(), "max_errored_blocks", 1)
    with pytest.raises(UsageError, match="would leave out blocks"):
        program(lambda rows: rows.write_datasink(sink(target)))


def test_without_this_refusal_the_rows_of_such_a_block_are_missing(
    program: Callable[..., None], target: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raypipe.dataset import sink as module

    monkeypatch.setattr(ray.data.DataContext.get_current(), "max_errored_blocks", 1)
    monkeypatch.setattr(module, "_require_every_block", lambda: None)
    program(lambda rows: rows.map_batches(_fails_late, batch_format="pyarrow").write_datasink(sink(target)))
    assert 0 < sum(written(target).values()) < ROWS


WRONG: dict[str, tuple[Callable[[pa.Table], pa.Table], type[Exception], str]] = {
    "a missing column": (lambda rows: rows.drop_columns(["score"]), DataError, "no score"),
    "an unknown column": (lambda rows: rows.append_column("more", rows["id"]), DataError, "unknown more"),
    "a NULL": (
        lambda rows: rows.set_column(2, "score", pa.nulls(len(rows), pa.float32())),
        DataError,
        "cannot be NULL",
    ),
    "another type": (lambda rows: rows.set_column(2, "score", rows["day"]), DataError, "date32"),
    "a number that does not fit": (
        lambda rows: rows.set_column(0, "id", pa.array([-1] * len(rows))),
        DataError,
        "-1 not in range",
    ),
}


@pytest.mark.fast
@pytest.mark.parametrize("kind", WRONG)
def test_rows_that_do_not_fit_are_refused_and_leave_nothing(
    program: Callable[..., None], target: Client, kind: str
) -> None:
    change, error, text = WRONG[kind]
    with pytest.raises(error, match=text):
        program(lambda rows: rows.map_batches(change, batch_format="pyarrow").write_datasink(sink(target)))
    assert not written(target)
    assert own_tables(target) == []


ENGINES = {
    "SummingMergeTree": "ENGINE = SummingMergeTree ORDER BY id",
    "ReplacingMergeTree": "ENGINE = ReplacingMergeTree ORDER BY id",
    "Memory": "ENGINE = Memory",
}


@pytest.mark.fast
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_does_not_keep_every_row_is_refused(
    program: Callable[..., None], target: Client, engine: str
) -> None:
    target.run(f"CREATE TABLE other (id UInt64, day Date, score Float32) {ENGINES[engine]}")
    with pytest.raises(ConfigError, match=engine):
        program(lambda rows: rows.write_datasink(ClickHouseSink("other", target.endpoint, run=RUN)))


@pytest.mark.fast
def test_a_pickled_sink_holds_no_password(target: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    monkeypatch.setenv("RAYPIPE_PASSWORD", "very-secret")
    own = ClickHouseSink(TARGET, replace(target.endpoint, password_file=None), run=RUN)
    begun: Any = sink(target)
    begun.on_write_start(None)
    own._state = begun._state
    text = cloudpickle.dumps(own)
    begun.on_write_failed(ZeroDivisionError())
    assert b"very-secret" not in text
    assert target.endpoint.password().encode() not in text or not target.endpoint.password()
