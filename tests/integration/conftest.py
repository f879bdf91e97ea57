"""Provide fixtures without Ray: a handmade manifest, receipts and staged rows, and a registered model."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raypipe.artifact.contract import key_hash
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.data.slices import Slice, Slicing
from raypipe.score import gate, ledger, staging
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from tests.factories import manifest, model_record

FEATURES = "SELECT company_id, brand_id, user_id, sessions FROM people WHERE day = {date:Date} AND {slice}"
KEYS = ("company_id", "brand_id", "user_id")


@dataclass(frozen=True)
class Scoring:
    """A run over the table `people` in two slices. A test takes its steps one by one."""

    client: Client
    manifest: Manifest

    def with_manifest(self, **changes: Any) -> Scoring:
        return replace(self, manifest=replace(self.manifest, **changes))

    def users(self, piece: int) -> list[str]:
        """Return the keys of a slice: users u0..u4 in the first, u5.. in the second."""
        sql = f"SELECT user_id FROM people WHERE day = {{date:Date}} AND {'NOT' * (piece == 0)} user_id >= 'u5'"
        return sorted(row[0] for row in self.client.rows(sql, {"date": self.manifest.date}))

    def stage(
        self, piece: int, users: Sequence[str] | None = None, *, attempt: int = 1, chunks: int = 1, rejected: int = 0
    ) -> Receipt:
        """Stage users of a slice like its worker. The last `rejected` of them get no score."""
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
        """Insert once into staging."""
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
        """Return the sum of the keys' hashes, as for source and staging."""
        sql = (
            f"SELECT sum({key_hash(KEYS)}) FROM (SELECT 'c' AS company_id, 'b' AS brand_id,"
            " arrayJoin({users:Array(String)}) AS user_id)"
        )
        return int(self.client.value(sql, {"users": list(users)}))

    def staged(self) -> list[Receipt]:
        """Stage both slices completely and record them."""
        written = [self.stage(0, attempt=11, chunks=2), self.stage(1, attempt=12)]
        for receipt in written:
            ledger.record(self.client, self.manifest.run_id, receipt)
        return written


@pytest.fixture
def scoring(client: Client) -> Callable[..., Scoring]:
    """Create runs over ten users of 2026-01-31, u0 to u9, in the test's own database."""
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
        population = gate.population(client, select, {"date": day})
        bound = ("c", "b", "u5")
        slices = (Slice(0, upper=bound), Slice(1, lower=bound))
        known = manifest(
            run_id=run_id,
            date=day,
            select=select,
            select_parameters={"date": day},
            slicing=Slicing("index", KEYS, ("String",) * 3, slices, population.rows),
            source_rows=population.rows,
            source_checksum=population.checksum,
        )
        return Scoring(client, replace(known, **changes))

    return make


def schema_of_the_ledger(client: Client) -> None:
    """Return raypipe's own tables and the view of rejections, without the rest of the schema."""
    from raypipe.clickhouse.statements import load_all
    from raypipe.project import shipped

    for statement in load_all(shipped() / "sql" / "schema" / "0010_raypipe.sql"):
        if "raypipe_current_predictions" not in statement.text:
            client.run(statement.text)


SNAPSHOTS = (date(2026, 1, 30), date(2026, 1, 31))
FEW_USERS = 300


@dataclass(frozen=True)
class RegisteredModel:
    """A database with all tables, two small snapshots of user features and a churn champion.

    Attributes:
        endpoint: The test module's own database.
        project: A folder with copies of the shipped `configs` and `sql`, which a test may copy and break.
        artifacts: The folder of the artifacts.
        artifact: The folder of this model's artifact.
        version: The model's version.
        day: The newest snapshot.
    """

    endpoint: Endpoint
    project: Path
    artifacts: Path
    artifact: Path
    version: str
    day: date


@pytest.fixture(scope="module")
def registered_model(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegisteredModel]:
    """Fit and register a churn model by hand, without Ray, shared by a module's tests."""
    from raypipe.clickhouse.schema.migrate import migrate_at
    from raypipe.project import shipped

    place = replace(endpoint, database=f"raypipe_test_{uuid.uuid4().hex[:12]}")
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(shipped() / "configs", project / "configs")
    shutil.copytree(shipped() / "sql" / "churn", project / "sql" / "churn")
    migrate_at(place)
    try:
        with Client(place) as client:
            _few_users(client)
            yield _registered(client, project, tmp_path_factory.mktemp("artifacts"))
    finally:
        with Client(endpoint) as admin:
            admin.run(f"DROP DATABASE IF EXISTS {place.database} SYNC")


CATEGORIES = (
    "current_subscription_tier, current_user_segment, preferred_device_type_id, preferred_os_id, preferred_browser_id,"
    " preferred_category_id, primary_country_code, primary_city_id"
)


def _few_users(client: Client, users: int = FEW_USERS) -> None:
    words = ", ".join(f"['a', 'b', 'c'][(number + {seed}) % 3 + 1]" for seed in range(CATEGORIES.count(",") + 1))
    client.run(
        "INSERT INTO customer_user_features (user_feature_id, user_id, company_id, brand_id, feature_date,"
        f" total_sessions, days_active, days_since_last_session, active_last_30_days, first_session_date, {CATEGORIES})"
        " SELECT toString(number), concat('u', toString(number)), 'c', 'b', arrayJoin({days:Array(Date)}),"
        f" number % 40 + 1, number % 20 + 1, number % 29, 1, toDate('2025-10-01'), {words}"
        f" FROM numbers({users})",
        {"days": list(SNAPSHOTS)},
    )


def _registered(client: Client, project: Path, artifacts: Path) -> RegisteredModel:
    from raypipe.artifact import files as store
    from raypipe.artifact.bins import fit_bins
    from raypipe.artifact.contract import matrix
    from raypipe.artifact.freeze import freeze
    from raypipe.artifact.package import Package, pack
    from raypipe.clickhouse.statements import load
    from raypipe.config.load import load_pipeline
    from raypipe.data.slices import unsliced
    from raypipe.models.model import Matrix
    from raypipe.models.protocol import FitSpec
    from raypipe.models.xgboost import XGBoost
    from raypipe.registry import aliases, models

    loaded = load_pipeline("churn", project / "configs", environ={})
    config = loaded.config
    statement = load(loaded.sql("churn/features.sql"))
    features, bound = unsliced(statement.text), {"date": SNAPSHOTS[-1]}
    contract = freeze(client, config.features, config.entity.keys, config.carry, features, [bound], statement.source)
    x = matrix(client.table(contract.select(features), bound).column("x"), len(contract.columns))
    rows = Matrix(x, (x[:, contract.columns.index("days_since_last_session")] > 14).astype(np.float32))
    spec = FitSpec(
        contract.columns, contract.monotone, {"objective": "binary:logistic", "max_depth": 2}, rounds=5, kind="binary"
    )
    model, _ = XGBoost().fit(rows, rows, spec)
    bins = fit_bins(x, model.predict(x))
    levels = tuple((level.name, level.below) for level in config.levels)
    package = Package(config.model.class_path, contract, bins, 0.5, levels, model)
    artifact = store.save(str(artifacts), pack(package, x, {}))
    at = datetime(2026, 2, 1, tzinfo=UTC)
    record = model_record("20260131.000000.abcdef", at, artifact, contract.sha256)
    made = models.set_status(client, models.register(client, record, at), "PRODUCTION", at)
    aliases.move(client, "churn", {aliases.CHAMPION: made}, "made by hand", "a test", at)
    return RegisteredModel(client.endpoint, project, artifacts, Path(artifact.uri), made.version, SNAPSHOTS[-1])
