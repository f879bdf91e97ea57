"""Make a pipeline of 1,600 users, whose nights are run with refits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from raypipe import night
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.load import Loaded, load_pipeline
from raypipe.night import NightResult, Step
from tests.conftest import _fresh_database

CONFIG = """
pipeline: visits
entity: {type: user, keys: [user_id], id: user_id}
source: {table: user_days, date_column: day}
label: {horizon_days: 7}
features: [signal, other, noise]
model: {class: "raypipe.models.xgboost:XGBoost", rounds: 30, params: {max_depth: 2, nthread: 1}}
evaluate: {bootstrap: 50}
publish: [{target: ml_model_predictions, sql: shared/predictions.sql}]
"""
FEATURES = "SELECT user_id, signal, other, noise FROM user_days WHERE day = {date:Date} AND {slice}\n"
LABELS = "SELECT user_id, came AS label FROM user_days WHERE day = {until:Date} AND {slice}\n"
FIRST = date(2026, 1, 3)
# Two signals decide together, so that no single one and no line is as good as trees. The first signal moves after the
# fourth week, and the label does not.
USER_DAYS = """
CREATE TABLE user_days ENGINE = MergeTree ORDER BY (day, user_id) AS
WITH number % 2 AS left, intDiv(number, 2) % 2 AS right, left = right ? 80 - 10 * left : 20 + 10 * left AS percent
SELECT toDate('2025-12-06') + 7 * week AS day, toString(number) AS user_id,
    toFloat32(left + 5 * (week > 5)) AS signal, toFloat32(right) AS other,
    toFloat32(cityHash64(number, week) % 100) AS noise,
    toUInt8(cityHash64(number, week, 'came') % 100 < percent) AS came
FROM numbers(1600) ARRAY JOIN range(14) AS week
"""


@dataclass(frozen=True)
class Visits:
    """The pipeline `visits` on a database of its own; snapshots are weekly from 2025-12-06 on."""

    client: Client
    folder: Path

    def loaded(self, *overrides: str) -> Loaded:
        return load_pipeline("visits", self.folder / "configs", overrides, environ={})

    def night(self, week: int, *overrides: str) -> NightResult:
        """Run a night of the week after 2026-01-03."""
        return night.run_pipeline(self.client.endpoint, self.loaded(*overrides), dated(week), silent)

    def step(self, week: int, *overrides: str) -> Step:
        """Run a night as `raypipe nightly` does."""
        pipelines = {"visits": self.loaded(*overrides)}
        (step,) = night.run_night(self.client.endpoint, pipelines, dated(week), "UTC", silent)
        return step

    def recorded(self) -> list[Any]:
        """Return the status and the cause of each fit, in order."""
        rows = self.client.rows(
            "SELECT run_status, hyperparameters FROM ml_model_training_runs FINAL ORDER BY started_at, run_status"
        )
        return [(status, json.loads(text)["refit"]) for status, text in rows]


def dated(week: int) -> date:
    return FIRST + timedelta(days=7 * week)


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


@contextmanager
def visits_at(endpoint: Endpoint, folder: Path) -> Iterator[Visits]:
    """Create the pipeline's files and database, which is dropped at the end."""
    (folder / "configs").mkdir()
    (folder / "sql" / "visits").mkdir(parents=True)
    (folder / "configs" / "visits.yaml").write_text(CONFIG)
    for name, text in (("features", FEATURES), ("labels", LABELS)):
        (folder / "sql" / "visits" / f"{name}.sql").write_text(text)
    with _fresh_database(endpoint) as place, Client(place) as client:
        migrate(client)
        client.run(USER_DAYS)
        yield Visits(client, folder)


def trigger(result: NightResult) -> str | None:
    return result.refit.cause.trigger if result.refit else None
