"""Make a publisher of any size with small granules and a champion, without Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.clickhouse.statements import identifier
from raypipe.project import shipped
from tests.conftest import FittedPublisher, _shrink_granules
from tests.integration import conftest as registered

DAY = registered.SNAPSHOTS[-1]
FEATURES = "customer_user_features"


def sized_publisher(server: Endpoint, database: str, folder: Path, users: int) -> FittedPublisher:
    """Create a database with two snapshots of some users and a champion of churn."""
    place = replace(server, database=database)
    with Client(server) as admin:
        admin.run(f"CREATE DATABASE {identifier(database)}")
    migrate_at(place)
    project, artifacts = folder / "project", folder / "artifacts"
    for name in ("configs", "sql"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).symlink_to(shipped() / name)
    with Client(place) as client, pytest.MonkeyPatch.context() as patch:
        # Small granules, so that a setting can cut a small table.
        _shrink_granules(client, FEATURES)
        patch.setattr(registered, "FEW_USERS", users)
        registered._few_users(client)
        registered._registered(client, project, artifacts)
    return FittedPublisher(place, artifacts)


def published(client: Client) -> tuple[int, int]:
    """Return how many rows and keys of the day each stand in the predictions."""
    (counts,) = client.rows(
        "SELECT count(), uniqExact(company_id, brand_id, entity_id) FROM ml_model_predictions"
        " WHERE prediction_type = 'churn' AND prediction_date = {day:Date}",
        {"day": DAY},
    )
    return counts[0], counts[1]
