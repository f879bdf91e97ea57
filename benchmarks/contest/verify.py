"""Compare a contender's rows with the population and with raypipe's own rows."""

from __future__ import annotations

from contest.arena import SCORED, TARGET, Arena
from raypipe.clickhouse.client import Client

REFERENCE = "bench_reference"
SAMPLED = 50_000
TOLERANCE = 1e-6
# Columns that must be equal. Ids, batch and times differ by nature.
SAME = [
    "model_id",
    "prediction_type",
    "entity_type",
    "prediction_class",
    "input_features",
    "prediction_date",
    "metadata",
]
NUMBERS = ["prediction_value", "prediction_probability", "prediction_confidence"]


def remember(arena: Arena, rows: int) -> None:
    """Keep a sample of the target's rows for later comparisons."""
    columns = ", ".join(["company_id", "brand_id", "entity_id", *NUMBERS, *SAME])
    with Client(arena.endpoint) as client:
        client.run(
            f"CREATE OR REPLACE TABLE {REFERENCE} ENGINE = MergeTree ORDER BY tuple() AS"
            f" SELECT {columns} FROM {TARGET} WHERE cityHash64(entity_id) % {max(1, rows // SAMPLED)} = 0"
        )


def verify(arena: Arena, name: str, rows: int) -> float:
    """Check the target's rows and return the largest difference of a sampled score.

    Raises:
        SystemExit: A row is missing, duplicated or different from raypipe's.
    """
    with Client(arena.endpoint) as client:
        _complete(client, name, rows)
        return _agree(client, name)


def _complete(client: Client, name: str, rows: int) -> None:
    key = "company_id, brand_id"
    (source,) = client.rows(
        f"SELECT count(), sum(cityHash64({key}, user_id)) FROM customer_user_features"
        " WHERE feature_date = {day:Date} AND active_last_30_days = 1",
        {"day": SCORED},
    )
    (found,) = client.rows(
        f"SELECT count(), sum(cityHash64({key}, entity_id)), uniqExact({key}, entity_id), uniqExact(prediction_id)"
        f" FROM {TARGET}"
    )
    if found != (*source, rows, rows):
        raise SystemExit(
            f"{name} did not write the population: rows, key checksum, distinct keys and ids are {found},"
            f" not {(*source, rows, rows)}"
        )


def _agree(client: Client, name: str) -> float:
    differences = ", ".join(f"max(abs(t.{column} - r.{column}))" for column in NUMBERS)
    mismatches = ", ".join(f"countIf(t.{column} != r.{column})" for column in SAME)
    (found,) = client.rows(
        f"SELECT count(), (SELECT count() FROM {REFERENCE}), {differences}, {mismatches}"
        f" FROM {TARGET} AS t INNER JOIN {REFERENCE} AS r USING (company_id, brand_id, entity_id)"
    )
    compared, expected, *rest = found
    numbers, others = rest[: len(NUMBERS)], rest[len(NUMBERS) :]
    if compared != expected or not compared or max(numbers) > TOLERANCE or any(others):
        mismatch = dict(zip([*NUMBERS, *SAME], rest, strict=True))
        raise SystemExit(f"{name} wrote other predictions than raypipe: {compared} of {expected} rows, {mismatch}")
    return float(max(numbers))
