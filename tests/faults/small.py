"""Make a small publisher, whose champion was made by hand: whole runs in seconds, without Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.project import shipped
from tests.conftest import FittedPublisher, _shrink_granules
from tests.faults.servers import FEATURES
from tests.integration.conftest import FEW_USERS, SNAPSHOTS, _few_users, _registered

DAY = SNAPSHOTS[-1]
USERS = FEW_USERS


def small_publisher(server: Endpoint, database: str, folder: Path, users: int = USERS) -> FittedPublisher:
    """Create a database with all tables, two snapshots of some users and a champion of churn."""
    place = replace(server, database=database)
    migrate_at(place)
    with Client(place) as client:
        # Small granules, so that a setting can cut a small table.
        _shrink_granules(client, FEATURES)
        _few_users(client, users)
        model = _registered(client, shipped(), folder / "artifacts")
    return FittedPublisher(place, model.artifacts)
