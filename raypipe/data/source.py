"""Read any SQL as a Ray Data dataset, in parallel slices and bounded blocks."""

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
from raypipe.data.slice_count import slices_of
from raypipe.data.slices import Slice, Slicing, cut, has_place, place
from raypipe.errors import UsageError

log = logging.getLogger(__name__)

# Ray Data keeps a few blocks per reading task in memory; ClickHouse's own batches are usually smaller.
BLOCK_BYTES = 64 * 1024 * 1024
# Ray Data would repeat the task of a dead worker without limit, keep the blocks that it had already handed out, and
# expect the same blocks again. ClickHouse returns a slice's rows in another order each time, so the kept and the new
# blocks together would contain some rows twice and lack others. An error is better.
ONCE = {"max_retries": 0}


class SlicedQuery(Datasource):
    """A query cut into slices, with a Ray Data read task per slice."""

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
        """Return the name for Ray's progress bar."""
        return "ClickHouse"

    def estimate_inmemory_data_size(self) -> int | None:
        """Return None: the size is unknown before reading."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """Return a read task per slice; Ray's `parallelism` has no influence."""
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
            # Ray Data needs the schema of an empty slice, too.
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
    slice_rows: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> ray.data.Dataset:
    """Return a query as a Ray Data dataset, streamed from ClickHouse in parallel.

    With `{slice}` in the query (or `{slice:alias}`, to qualify the columns) and `table`, the table whose rows
    it restricts, the read follows that table's primary index: each task reads only its own granules, whatever
    filters, joins or subqueries surround the place. Otherwise `keys` cut the result by a hash, which runs the
    query once per task; without keys, a single task streams everything.

    A slice is read once: if its worker dies, for example for lack of memory, the read fails with Ray's error.

    Args:
        sql: a SELECT; values are bound as `{name:Type}`.
        table: the table that `{slice}` restricts.
        keys: columns that identify a row of the table, or of the result.
        pinned: columns of `table` that the query fixes to a value, such as the date.
        slice_rows: the rows of `table` per task, roughly; None: a quarter of them, from 250,000 to 500,000.

    Raises:
        UsageError: `{slice}` without `table`, or `table` without `{slice}`.
        ServerError: while reading, the server's own error.
        ray.exceptions.RayError: while reading, a worker or its node died.
    """
    marked = has_place(sql)
    if marked != (table is not None):
        raise UsageError(
            "A query that is read in slices needs both `{slice}` and `table`",
            found="{slice} without table" if marked else f"table={table!r} but no {{slice}} in the query",
            allowed="`{slice}` in the query and `table`, or neither",
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
        # Ray has no other parameter for retries.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset: ray.data.Dataset = ray.data.read_datasource(
            source, override_num_blocks=len(slicing.slices), ray_remote_args=ONCE
        )
    from raypipe.pages import notebook

    return notebook.shown(dataset, f"dataset of {table or 'a query'}", _described(endpoint, slicing))


def _described(endpoint: Endpoint, slicing: Slicing) -> list[tuple[str, str]]:
    """Return what a notebook shows of a dataset, without reading it."""
    rows = f"{slicing.rows:,}" if slicing.rows else "not counted"
    return [("ClickHouse", str(endpoint)), ("slices", f"{len(slicing.slices):,}, by {slicing.method}"), ("rows", rows)]


def _hashed(
    client: Client, sql: str, parameters: Mapping[str, Any], keys: tuple[str, ...], slice_rows: int | None
) -> tuple[str, Slicing]:
    """Cut a query without `{slice}` by a hash of its result's key."""
    whole = Slicing("whole", (), (), (Slice(0),))
    if not keys:
        return sql, whole
    rows = int(client.value(f"SELECT count() FROM (\n{sql}\n)", parameters))
    count = slices_of(rows, slice_rows)
    if count <= 1:
        return sql, whole
    slices = tuple(Slice(i, bucket=i) for i in range(count))
    for name in keys:
        identifier(name)
    return f"SELECT * FROM (\n{sql}\n) WHERE {{slice}}", Slicing("hash", keys, ("String",) * len(keys), slices, rows)
