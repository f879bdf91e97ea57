"""Write a Ray Data dataset into a ClickHouse table, exactly once per run."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import Datasink
from ray.data.block import Block, BlockAccessor
from ray.data.datasource import WriteResult

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.dataset import writing
from raypipe.dataset.attempt import Receipt, stage
from raypipe.dataset.journal import Entry
from raypipe.dataset.target import require_run, require_target
from raypipe.dataset.writing import Write
from raypipe.errors import RaypipeError, UsageError
from raypipe.score.targets import unfed_views

log = logging.getLogger(__name__)


class ClickHouseSink(Datasink[Receipt]):
    """A sink for `write_datasink` that adds a run's rows to a table once, whole, or not at all.

    The run is the unit: `write_datasink` of a published run changes nothing and logs so. The run of a process that died
    is begun again. docs/ray-data.md shows a program; docs/guarantees.md says what readers see after which crash.

    Args:
        table: a table of the endpoint's database, with the engine MergeTree.
        endpoint: the ClickHouse; workers read the password by themselves.
        run: the name of the rows, such as `churn/2026-01-31`.
        keys: columns that identify a row of the run; NULL or equal keys are refused.
        take_over: whether the lock of a process that is not known to be dead may be taken.

    Raises:
        UsageError: the run or the table has no usable name.
    """

    def __init__(
        self, table: str, endpoint: Endpoint, *, run: str, keys: Sequence[str] = (), take_over: bool = False
    ) -> None:
        require_run(run)
        self._table = table
        self._endpoint = endpoint
        self._run = run
        self._keys = tuple(keys)
        self._take_over = take_over
        self._state: Write | Entry | None = None

    def get_name(self) -> str:
        """Return the name for Ray's progress bar."""
        return "ClickHouseSink"

    @property
    def is_published(self) -> bool:
        """Return whether the run's rows are in the table, so that a program may skip the work."""
        with Client(self._endpoint) as client:
            return writing.published(client, self._table, self._run) is not None

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Begin the run, unless it is published.

        Args:
            schema: unused; where Ray fuses the write with a step before it, this is the schema of that step's input.

        Raises:
            UsageError: Ray Data may leave out blocks, or the table does not exist.
            ConfigError: the table's engine merges rows, or the table is on a cluster.
            Busy: another process writes the run.
        """
        self._state = None
        _require_every_block()
        with Client(self._endpoint) as client:
            target = require_target(client, self._table, self._keys)
            for view in unfed_views(client, self._table):
                log.warning("the materialized view %s of %s gets no rows: partitions are moved", view, self._table)
            self._state = writing.begin(client, target, self._run, take_over=self._take_over)

    def write(self, blocks: Iterable[Block], ctx: object) -> Receipt:
        """Stage the rows of a task, in a process of Ray's."""
        if not isinstance(self._state, Write):
            return Receipt("", 0)
        return stage(_client(self._endpoint), self._state.staging, map(_arrow, blocks))

    def on_write_complete(self, write_result: WriteResult[Receipt]) -> None:
        """Publish the run.

        Raises:
            GateRefused: the staged rows are not the rows of the program.
            Busy: another process took the run over.
        """
        if self._state is None:
            # Ray starts no write for a dataset without blocks.
            self.on_write_start()
        if isinstance(self._state, Entry):
            _say_published(self._state)
            return
        assert self._state is not None
        with Client(self._endpoint) as client:
            entry = writing.publish(
                client, self._state, write_result.write_returns, int(write_result.num_rows), self._keys
            )
            writing.finish(client, self._state)
        log.info("%s: %d rows of the run %s were added", entry.target, entry.rows, entry.run)

    def on_write_failed(self, error: Exception) -> None:
        """Leave nothing of the run, unless its rows were being added: then finish it."""
        if not isinstance(self._state, Write):
            return
        try:
            with Client(self._endpoint) as client:
                done = writing.abandon(client, self._state, error)
        except RaypipeError as failure:
            log.warning("the run %s was not taken back: %s; write it again", self._run, failure.problem)
            return
        if done is not None:
            log.warning("the run %s is in %s all the same: the error came behind its commit", self._run, self._table)


def _require_every_block() -> None:
    skipped: Any = ray.data.DataContext.get_current().max_errored_blocks
    if skipped:
        raise UsageError(
            "Ray Data would leave out blocks that fail, and the run would lack their rows",
            found=f"DataContext.max_errored_blocks = {skipped}",
            allowed="0",
            next_step="set max_errored_blocks of ray.data.DataContext.get_current() to 0, and filter bad rows",
        )


def _say_published(entry: Entry) -> None:
    log.warning(
        "the run %s is in %s since %s (%d rows); this write changed nothing",
        entry.run,
        entry.target,
        entry.updated_at.isoformat(timespec="seconds"),
        entry.rows,
    )


@functools.lru_cache(maxsize=4)
def _client(endpoint: Endpoint) -> Client:
    """Return a client of a worker's process, which serves many tasks."""
    return Client(endpoint)


def _arrow(block: Block) -> pa.Table:
    return BlockAccessor.for_block(block).to_arrow()
