"""Check predictions made outside a pipeline, and write them to ml_model_predictions exactly once."""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from raypipe.clickhouse import lock, mutations
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.sharding import DISTRIBUTED
from raypipe.clickhouse.statements import load
from raypipe.clickhouse.tables import describe
from raypipe.data.days import as_day
from raypipe.errors import Busy, ConfigError, DataError, UsageError
from raypipe.project import shipped

TARGET = "ml_model_predictions"
KEYS = ("company_id", "brand_id", "entity_id")
SCORES = {"prediction_value": pa.float64(), "prediction_probability": pa.float32()}
OPTIONAL = {
    "prediction_confidence": pa.float32(),
    "prediction_class": pa.string(),
    "input_features": pa.string(),
    "metadata": pa.string(),
}
TYPES = {**dict.fromkeys(KEYS, pa.string()), **SCORES, **OPTIONAL}
SHARES = ("prediction_probability", "prediction_confidence")
OF_BATCH = (
    "prediction_type = {prediction_type:String} AND prediction_date = {prediction_date:Date}"
    " AND batch_id = {batch:String}"
)
# An insert of this size is one block, and only a block is written whole or not at all.
MOST_ROWS = 1_000_000


def save_predictions(
    client: Client,
    predictions: pa.Table,
    model_id: str,
    prediction_type: str,
    prediction_date: date | str,
    *,
    entity_type: str = "user",
    predicted_at: datetime | None = None,
    take_over: bool = False,
) -> str:
    """Write predictions to ml_model_predictions: all or none, and never twice.

    The batch's id is a hash of the rows (in any order) and of the arguments. After a network error or a crash, call
    this again: it writes the rows, or reports that the batch exists. Of several calls at once a single one writes.

    Args:
        predictions: one row per entity, at most a million. Required: `company_id`, `brand_id`, `entity_id`
            (text), and `prediction_probability` (0 to 1) or `prediction_value`, which defaults to the
            probability. Optional: `prediction_confidence` (0 to 1), `prediction_class`, and `input_features`
            and `metadata` (JSON).
        prediction_type: the subject of the prediction, such as `churn`.
        prediction_date: the day that the predictions are about.
        predicted_at: the time of the prediction, with its zone; None for now. Not part of the id.
        take_over: whether to go on although another host has begun to save this batch; set it when its process is
            surely dead.

    Returns:
        The batch_id of the written rows.

    Raises:
        UsageError: these predictions exist already, or an argument is empty.
        ConfigError: the table is on several shards, or on replicas of a cluster that the client does not name.
        Busy: another process is saving them.
        DataError: a column is missing, unknown or of a wrong type; a value is NULL, not finite or out of
            range; an entity occurs twice; or the table does not hold the rows afterwards, which are removed then.
    """
    for name, value in (("model_id", model_id), ("prediction_type", prediction_type), ("entity_type", entity_type)):
        if not value:
            raise UsageError(f"save_predictions needs a {name}", found=repr(value))
    if predicted_at is not None and predicted_at.tzinfo is None:
        raise UsageError("predicted_at has no zone", found=predicted_at.isoformat(), allowed="a time with its zone")
    day = as_day("prediction_date", prediction_date)
    rows = _checked(predictions)
    _require_place(client)
    batch = f"adhoc_{day:%Y%m%d}_{_digest(rows, model_id, prediction_type, day, entity_type)}"
    at = (predicted_at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    constants = {
        "model_id": pa.scalar(model_id),
        "prediction_type": pa.scalar(prediction_type),
        "entity_type": pa.scalar(entity_type),
        "prediction_date": pa.scalar(day, pa.date32()),
        "predicted_at": pa.scalar(at, pa.timestamp("s", "UTC")),
        "batch_id": pa.scalar(batch),
    }
    for name, scalar in constants.items():
        rows = rows.append_column(name, pa.repeat(scalar, rows.num_rows))
    rows = rows.append_column("prediction_id", pa.array(_ids(batch, rows), pa.string()))
    with _locked(client, batch, take_over):
        _write_once(client, rows, {"batch": batch, "prediction_type": prediction_type, "prediction_date": day}, at)
    return batch


def _require_place(client: Client) -> None:
    """Refuse a table on several shards, and a replicated table whose cluster the client does not name."""
    table = describe(client, TARGET)
    engine = table.engine if table else ""
    if engine == DISTRIBUTED:
        raise ConfigError(
            "save_predictions cannot write a batch whole or not at all on several shards",
            found=f"{TARGET} with the engine {engine}, whose insert writes to one shard after the other",
            allowed="a table on one server, or on the replicas of one shard",
            next_step="score with a pipeline, which commits once for all shards, or save into a database of one server",
        )
    if engine.startswith("Replicated") and client.topology.cluster is None:
        raise ConfigError(
            f"{TARGET} is replicated, and this connection does not name its cluster",
            found=f"the engine {engine}, and no cluster",
            allowed="a connection with the cluster, whose lock is in Keeper and whose inserts wait for a quorum",
            next_step="connect with raypipe.connected(url, cluster=…)",
        )


@contextmanager
def _locked(client: Client, batch: str, take_over: bool) -> Iterator[None]:
    """Hold the batch's lock, which a dead process on this host loses to the next call."""
    try:
        with lock.held(client, batch, take_over=take_over):
            yield
    except Busy as error:
        raise Busy(
            "Another process is saving these predictions",
            found=error.found,
            next_step="wait and call save_predictions again: it reports that they exist, or saves them; pass"
            " take_over=True if that process is surely dead",
        ) from error


def _write_once(client: Client, rows: pa.Table, place: dict[str, object], at: datetime) -> None:
    """Look for the batch, insert it and count it; after another count, remove the rows that this call inserted."""
    count = load(shipped() / "sql" / "loaders" / "saved_batch.sql").text
    _require_absent(client.value(count, place), rows.num_rows, place)
    # The batch does not exist. A new token keeps ClickHouse from dropping the block as a repetition of rows that were
    # deleted since. (`insert_deduplicate = 0` no longer does that in 26.x.)
    fresh = {"insert_deduplication_token": uuid.uuid4().hex}
    client.insert(TARGET, rows, columns=rows.column_names, settings=fresh)
    written = client.value(count, place)
    if written == rows.num_rows:
        return
    # The time tells these rows from those that another program wrote under the same id.
    mutations.delete(client, TARGET, f"{OF_BATCH} AND predicted_at = {{at:DateTime('UTC')}}", {**place, "at": at})
    raise DataError(
        f"{TARGET} did not hold the batch that was just written, so its rows were removed",
        found=f"{written} rows under batch_id {place['batch']}",
        allowed=f"{rows.num_rows} rows",
        next_step=f"look for another writer of this batch, and at the row policies, the TTL and the engine of {TARGET};"
        " then save it again",
    )


def _require_absent(saved: int, rows: int, place: dict[str, object]) -> None:
    """Refuse a batch of which the table has rows."""
    if saved == rows:
        raise UsageError(
            f"These predictions exist in {TARGET} already",
            found=f"batch_id {place['batch']}",
            allowed="predictions that differ in a row, the model, the type or the date",
            next_step="nothing: an earlier call saved them",
        )
    if saved:
        raise DataError(
            f"{TARGET} holds another number of rows of this batch",
            found=f"{saved} rows under batch_id {place['batch']}",
            allowed=f"0 rows, or {rows} when the batch is complete",
            next_step="delete the rows of this batch_id and save it again",
        )


def _checked(predictions: pa.Table) -> pa.Table:
    """Return the predictions with the target's types, or refuse them for the first fault."""
    names = predictions.column_names
    unknown, missing = sorted(set(names) - set(TYPES)), [key for key in KEYS if key not in names]
    if unknown or missing or len(set(names)) != len(names) or not set(SCORES) & set(names):
        raise DataError(
            "The predictions have the wrong columns",
            found=", ".join(names),
            allowed=f"{', '.join(KEYS)}, {' or '.join(SCORES)}, and optionally {', '.join(OPTIONAL)}",
        )
    if not 0 < predictions.num_rows <= MOST_ROWS:
        raise DataError(
            "The batch has the wrong number of rows",
            found=predictions.num_rows,
            allowed=f"1 to {MOST_ROWS}",
            next_step="save a larger population in parts, or score it with `raypipe score`",
        )
    rows = pa.table({name: _column(name, predictions[name]) for name in names})
    distinct = rows.select(KEYS).group_by(list(KEYS)).aggregate([]).num_rows
    if distinct != rows.num_rows:
        raise DataError(
            "An entity occurs more than once in the predictions",
            found=f"{rows.num_rows} rows, {distinct} distinct ({', '.join(KEYS)})",
        )
    if "prediction_value" not in names:
        rows = rows.append_column("prediction_value", rows["prediction_probability"].cast(pa.float64()))
    return rows


def _column(name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    wanted = TYPES[name]
    plain = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    text = pa.types.is_string(plain) or pa.types.is_large_string(plain)
    number = pa.types.is_floating(plain) or pa.types.is_integer(plain)
    if not (text if wanted == pa.string() else number):
        raise DataError(f"The column {name} has the wrong type", found=values.type, allowed=wanted)
    _refuse(name, pc.is_null(values), values, "a value in every row")
    if name == "entity_id":
        _refuse(name, pc.equal(values.cast(wanted), ""), values, "an id in every row; '' is the anonymous reader")
    if name in SHARES:
        inside = pc.and_(pc.greater_equal(values, 0), pc.less_equal(values, 1))
        _refuse(name, pc.invert(inside), values, "a share from 0 to 1")
    try:
        cast = values.cast(wanted)
    except pa.ArrowInvalid as error:
        problem = f"The column {name} holds values that cannot be saved"
        raise DataError(problem, found=str(error), allowed=wanted) from error
    if wanted != pa.string():
        _refuse(name, pc.invert(pc.is_finite(cast)), values, "finite numbers")
    return cast


def _refuse(name: str, wrong: pa.ChunkedArray, values: pa.ChunkedArray, allowed: str) -> None:
    first = pc.index(wrong, True).as_py()
    if first >= 0:
        raise DataError(
            f"The column {name} holds values that cannot be saved",
            found=f"{values[first].as_py()!r} in row {first}; {pc.sum(wrong).as_py()} rows in all",
            allowed=allowed,
        )


def _digest(rows: pa.Table, *names: object) -> str:
    """Hash the content of the rows, independent of their order, chunks and text encoding."""
    digest = hashlib.sha256(repr([str(name) for name in names]).encode())
    ordered = rows.sort_by([(key, "ascending") for key in KEYS])
    for name in sorted(ordered.column_names):
        digest.update(name.encode())
        column = ordered[name]
        if TYPES[name] == pa.string():
            digest.update(pc.binary_length(column).to_numpy().tobytes())
            digest.update("".join(column.to_pylist()).encode())
        else:
            digest.update(column.to_numpy().tobytes())
    return digest.hexdigest()[:16]


def _ids(batch: str, rows: pa.Table) -> Iterable[str]:
    for key in zip(*(rows[name].to_pylist() for name in KEYS), strict=True):
        yield str(uuid.UUID(bytes=hashlib.sha256(repr((batch, *key)).encode()).digest()[:16]))
