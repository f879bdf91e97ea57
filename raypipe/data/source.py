"""Any SQL as a Ray Data dataset, read in parallel slices and in bounded blocks."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.util.annotations import RayDeprecationWarning

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import Slice, Slicing, cut, has_place, place
from raypipe.errors import UsageError

log = logging.getLogger(__name__)

# Ray Data holds a few blocks per reading task in memory; ClickHouse's own batches are usually below this.
BLOCK_BYTES = 64 * 1024 * 1024
# Ray Data would run the task of a worker that died anew, without limit, and keep the blocks that it had handed out:
# it takes a second run for the first one's twin. ClickHouse's threads yield a slice's rows in another order each
# time, so that the kept blocks and the new ones together have rows twice and lack others. An error is better.
ONCE = {"max_retries": 0}


class SlicedQuery(Datasource):
    """A query cut into slices, one Ray Data read task each.

    Args:
        endpoint: where the query runs; every read task makes a client of its own.
        sql: the query, with `{slice}` where the slice's predicate belongs.
        slicing: how the base table is cut.
        parameters: the query's other bound values.
        settings: ClickHouse settings of the query.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sql: str,
        slicing: Slicing,
        parameters: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._endpoint = endpoint
        self._sql = sql
        self._slicing = slicing
        self._parameters = dict(parameters)
        self._settings = dict(settings)

    def get_name(self) -> str:
        """The name that Ray's progress bar shows."""
        return "ClickHouse"

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known without reading."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """A read task a slice; `parallelism` is Ray's wish, the slicing decides."""
        return [ReadTask(self._reader(piece), _UNKNOWN, None, per_task_row_limit) for piece in self._slicing.slices]

    def _reader(self, piece: Slice) -> functools.partial[Iterator[pa.Table]]:
        sql = place(self._sql, self._slicing, piece)
        parameters = {**self._parameters, **self._slicing.parameters(piece)}
        return functools.partial(_read, self._endpoint, sql, parameters, self._settings)


_UNKNOWN = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)


def _read(
    endpoint: Endpoint, sql: str, parameters: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[pa.Table]:
    with Client(endpoint) as client, client.stream(sql, parameters, settings) as (schema, batches):
        empty = True
        for batch in batches:
            for block in _bounded(pa.Table.from_batches([batch])):
                empty = False
                yield block
        if empty:
            # Ray Data needs the schema of an empty slice too.
            yield schema.empty_table()


def _bounded(block: pa.Table) -> Iterator[pa.Table]:
    rows = max(1, int(block.num_rows * BLOCK_BYTES / max(block.nbytes, 1)))
    for start in range(0, block.num_rows, rows):
        yield block.slice(start, rows)


def read_sql(
    sql: str,
    endpoint: Endpoint,
    *,
    table: str | None = None,
    keys: Sequence[str] = (),
    pinned: Mapping[str, object] | None = None,
    parameters: Mapping[str, Any] | None = None,
    slice_rows: int = 250_000,
    settings: Mapping[str, Any] | None = None,
) -> ray.data.Dataset:
    """A query as a Ray Data dataset, streamed from ClickHouse in parallel.

    With `{slice}` in the query (or `{slice:alias}`, to qualify the columns) and `table` naming the table
    whose rows it restricts, the read is cut along that table's primary index: each task reads its own
    granules and nothing else, whatever filters, joins or sub-queries stand around it. Without it, `keys`
    cut the result by a hash, which runs the query once a task; with neither, one task streams it all.

    A slice is read once: when its worker dies, such as for its memory, the read fails with Ray's error.

    Args:
        sql: a SELECT; values are bound as `{name:Type}`.
        endpoint: where it runs.
        table: the table that `{slice}` cuts.
        keys: columns that identify a row of the table, or of the result.
        pinned: columns of `table` that the query holds equal to a value, such as the date.
        parameters: the values of the bound parameters.
        slice_rows: the rows of `table` a task reads, roughly.
        settings: ClickHouse settings.

    Raises:
        UsageError: `{slice}` without `table`, or the other way round.
        ServerError: while reading: the server's own error, from the task that met it.
        ray.exceptions.RayError: while reading: a worker or its node died.
    """
    marked = has_place(sql)
    if marked != (table is not None):
        raise UsageError(
            "A query is read in slices when it says where and of what",
            found="{slice} without table" if marked else f"table={table!r} but no {{slice}} in the query",
            allowed="both of `{slice}` in the query and `table`, or neither",
        )
    values = dict(parameters or {})
    with Client(endpoint) as client:
        if table is not None:
            slicing = cut(client, table, slice_rows=slice_rows, pinned=pinned, keys=keys)
        else:
            sql, slicing = _hashed(client, sql, values, tuple(keys), slice_rows)
    log.info("reading in %d slices by %s", len(slicing.slices), slicing.method)
    source = SlicedQuery(endpoint, sql, slicing, values, settings or {})
    with warnings.catch_warnings():
        # Retries have no parameter of their own.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset: ray.data.Dataset = ray.data.read_datasource(
            source, override_num_blocks=len(slicing.slices), ray_remote_args=ONCE
        )
    return dataset


def _hashed(
    client: Client, sql: str, parameters: Mapping[str, Any], keys: tuple[str, ...], slice_rows: int
) -> tuple[str, Slicing]:
    """A query without a place for the slice, cut by a hash of its result's key."""
    whole = Slicing("whole", (), (), (Slice(0),))
    if not keys:
        return sql, whole
    rows = int(client.value(f"SELECT count() FROM (\n{sql}\n)", parameters))
    count = -(-rows // slice_rows)
    if count <= 1:
        return sql, whole
    slices = tuple(Slice(i, bucket=i) for i in range(count))
    for name in keys:
        identifier(name)
    return f"SELECT * FROM (\n{sql}\n) WHERE {{slice}}", Slicing("hash", keys, ("String",) * len(keys), slices, rows)
