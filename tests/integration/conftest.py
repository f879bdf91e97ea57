"""A scoring run's manifest, receipts and staged rows, made by hand: no model and no Ray take part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client
from raypipe.data.contract import key_hash
from raypipe.data.slices import Slice, Slicing
from raypipe.score import gate, ledger, staging
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest, Target

FEATURES = "SELECT company_id, brand_id, user_id, sessions FROM people WHERE day = {date:Date} AND {slice}"
KEYS = ("company_id", "brand_id", "user_id")


@dataclass(frozen=True)
class Scoring:
    """A run over the table `people`, cut into two slices, whose steps a test takes one by one."""

    client: Client
    manifest: Manifest

    def with_manifest(self, **changes: Any) -> Scoring:
        return replace(self, manifest=replace(self.manifest, **changes))

    def users(self, piece: int) -> list[str]:
        """The keys of a slice: users u0..u4 in the first, u5.. in the second."""
        sql = f"SELECT user_id FROM people WHERE day = {{date:Date}} AND {'NOT' * (piece == 0)} user_id >= 'u5'"
        return sorted(row[0] for row in self.client.rows(sql, {"date": self.manifest.date}))

    def stage(
        self, piece: int, users: Sequence[str] | None = None, *, attempt: int = 1, chunks: int = 1, rejected: int = 0
    ) -> Receipt:
        """Stages users of a slice as its worker would; the last `rejected` of them get no score."""
        staging.create(self.client, self.manifest)
        read = list(self.users(piece) if users is None else users)
        kept = read[: len(read) - rejected]
        for chunk in range(chunks):
            self.insert(piece, kept[chunk::chunks], attempt, chunk)
        return Receipt(
            piece,
            attempt,
            len(read),
            len(kept),
            rejected,
            self.checksum(read),
            self.checksum(kept),
            chunks,
            {"read": 0.1, "predict": 0.1, "insert": 0.1},
            1.0,
            2.0,
            100.0,
        )

    def insert(self, piece: int, users: Sequence[str], attempt: int, chunk: int, token: str | None = None) -> None:
        """One insert into staging."""
        count = len(users)
        rows = pa.table(
            {
                "company_id": ["c"] * count,
                "brand_id": ["b"] * count,
                "user_id": pa.array(users, pa.string()),
                "sessions": pa.array(range(count), pa.uint32()),
                "score": pa.array([(i + 1) / 20 for i in range(count)], pa.float32()),
                "slice": pa.array([piece] * count, pa.uint32()),
                "chunk": pa.array([chunk] * count, pa.uint32()),
                "attempt": pa.array([attempt] * count, pa.uint64()),
            }
        )
        self.client.insert(self.manifest.staging, rows, columns=rows.schema.names, token=token)

    def checksum(self, users: Sequence[str]) -> int:
        """The sum of the keys' hashes, as the source and staging count it."""
        sql = (
            f"SELECT sum({key_hash(KEYS)}) FROM (SELECT 'c' AS company_id, 'b' AS brand_id,"
            " arrayJoin({users:Array(String)}) AS user_id)"
        )
        return int(self.client.value(sql, {"users": list(users)}))

    def staged(self) -> list[Receipt]:
        """Both slices staged whole and written down."""
        written = [self.stage(0, attempt=11, chunks=2), self.stage(1, attempt=12)]
        for receipt in written:
            ledger.record(self.client, self.manifest.run_id, receipt)
        return written


@pytest.fixture
def scoring(client: Client) -> Callable[..., Scoring]:
    """Makes runs over ten users of 2026-01-31, u0 to u9, in the test's own database."""
    client.run(
        "CREATE TABLE people (day Date, company_id String, brand_id String, user_id String, sessions UInt32)"
        " ENGINE = MergeTree ORDER BY (day, company_id, brand_id, user_id)"
    )
    client.run(
        "INSERT INTO people SELECT toDate('2026-01-30') + intDiv(number, 10), 'c', 'b',"
        " concat('u', toString(number % 10)), number FROM numbers(20)"
    )
    schema_of_the_ledger(client)

    def make(run_id: str = "churn_20260131_00000001", **changes: Any) -> Scoring:
        day = changes.get("date", date(2026, 1, 31))
        select = f"SELECT company_id, brand_id, user_id, sessions, {key_hash(KEYS)} AS key_hash FROM (\n{FEATURES}\n)"
        rows, checksum = gate.population(client, select, {"date": day})
        bound = ("c", "b", "u5")
        slices = (Slice(0, upper=bound), Slice(1, lower=bound))
        known = Manifest(
            run_id=run_id,
            run_at=datetime(2026, 2, 1, 3, 0, 0, tzinfo=UTC),
            pipeline="churn",
            date=day,
            entity_type="user",
            entity_id="user_id",
            model_id="model-1",
            model_version="20260201.000000.abcdef",
            artifact_uri="/nowhere",
            artifact_sha256="ab",
            contract_sha256="cd",
            sql_sha256="ef",
            keys=KEYS,
            key_types=("String",) * 3,
            carry=("sessions",),
            carry_types=("UInt32",),
            select=select,
            select_parameters={"date": day},
            slicing=Slicing("index", KEYS, ("String",) * 3, slices, rows),
            source_rows=rows,
            source_checksum=checksum,
            chunk_rows=100,
            max_rejected=0.2,
            duplicates="refuse",
            explain_rows=0,
            explain_features=5,
            threshold=0.25,
            levels=(("low", 0.15), ("high", 1.01)),
            targets=(Target("ml_model_predictions", ""),),
            snapshot=None,
        )
        return Scoring(client, replace(known, **changes))

    return make


def schema_of_the_ledger(client: Client) -> None:
    """raypipe's own tables and nothing else of the schema."""
    from raypipe.clickhouse.statements import load_all
    from raypipe.config.load import shipped

    for statement in load_all(shipped() / "sql" / "schema" / "0010_raypipe.sql"):
        if "raypipe_current_predictions" not in statement.text:
            client.run(statement.text)
