"""Describe the work of a contender: rows, booster, feature definition and target."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import clickhouse_connect
import numpy as np
import numpy.typing as npt
from clickhouse_connect.driver.client import Client

from raypipe.artifact import files
from raypipe.artifact.contract import Contract
from raypipe.models.xgboost import XGBoost, XGBoostModel

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """One population to score.

    Attributes:
        url: Scheme, host and port of ClickHouse. The password is in RAYPIPE_PASSWORD.
        features_sql: The pipeline's features query for the day, with plain columns.
        select: The compiled query: the keys and one row of the feature matrix as `x`.
        slices: The compiled query, cut into disjoint ranges of the sorting key with literal bounds.
        view: A view of `features_sql`, for readers that accept only a table.
        compiled_view: A view of `select`.
        insert_into: The text after INSERT INTO: the target, and predictions.sql over `input(…)` of keys and scores.
        target: The table that receives the predictions.
        levels: Name and upper bound of each level of the score, ascending.
        options: Settings of a single contender.
    """

    url: str
    user: str
    database: str
    rows: int
    day: str
    run_at: str
    batch_id: str
    model_id: str
    model_version: str
    pipeline: str
    entity_type: str
    artifact_uri: str
    artifact_sha256: str
    features_sql: str
    select: str
    slices: list[str]
    view: str
    compiled_view: str
    insert_into: str
    target: str
    levels: list[tuple[str, float]]
    cores: int
    chunk_rows: int
    options: dict[str, Any]

    @classmethod
    def from_command_line(cls) -> Job:
        return cls(**json.loads(Path(sys.argv[1]).read_text()))

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)))
        return path

    @property
    def date(self) -> date:
        return date.fromisoformat(self.day)

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.run_at).astimezone(UTC)

    @property
    def metadata(self) -> str:
        return json.dumps({"model_version": self.model_version}, separators=(",", ":"))

    @property
    def dsn(self) -> str:
        parts = urlsplit(self.url)
        user = f"{quote(self.user)}:{quote(os.environ.get('RAYPIPE_PASSWORD', ''))}"
        return f"{parts.scheme}://{user}@{parts.netloc}/{self.database}"

    def connect(self) -> Client:
        # On loopback no compression is fastest, for every contender.
        return clickhouse_connect.get_client(dsn=self.dsn, compress=False, autogenerate_session_id=False)

    def contract(self) -> Contract:
        content = files.load(self.artifact_uri, self.artifact_sha256)
        return Contract.from_json(json.loads(content["contract.json"]))

    def booster(self, threads: int) -> Any:
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(files.load(self.artifact_uri, self.artifact_sha256)["model.ubj"]))
        booster.set_param({"nthread": threads})
        return booster

    def compiled(self, threads: int) -> XGBoostModel:
        """Return the same booster with the compiled trees that `raypipe score` uses."""
        model = XGBoost().from_files(files.load(self.artifact_uri, self.artifact_sha256))
        model.set_threads(threads)
        model.compile()
        return model


def report(started: float, **found: Any) -> None:
    """Print the contender's result: the seconds since it was ready, and its other measurements."""
    print(json.dumps({"steady_seconds": time.perf_counter() - started, **found}))
