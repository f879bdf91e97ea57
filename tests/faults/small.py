"""A small publisher with a champion that was made by hand: whole runs in seconds, without Ray."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.project import shipped
from tests.conftest import FittedPublisher
from tests.integration.conftest import FEW_USERS, SNAPSHOTS, _few_users, _registered

DAY = SNAPSHOTS[-1]
USERS = FEW_USERS


def small_publisher(server: Endpoint, database: str, folder: Path) -> FittedPublisher:
    """Create a database with all tables, two snapshots of 300 users and a champion of churn."""
    place = replace(server, database=database)
    project = folder / "project"
    shutil.copytree(shipped() / "configs", project / "configs")
    shutil.copytree(shipped() / "sql" / "churn", project / "sql" / "churn")
    migrate_at(place)
    with Client(place) as client:
        _few_users(client)
        model = _registered(client, project, folder / "artifacts")
    return FittedPublisher(place, model.artifacts)
