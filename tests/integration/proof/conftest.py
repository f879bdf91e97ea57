"""Provide published pipelines; each test gets a copy of its own, because it changes the source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.statements import identifier, load_all
from raypipe.clickhouse.tables import describe_all
from raypipe.project import shipped
from tests.conftest import _fresh_database
from tests.faults.few import few_readers
from tests.faults.nights import TARGETS
from tests.faults.oracle import loaded
from tests.integration.proof.places import Place, spend

_USED = (
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND (total_rows > 0 OR name LIKE 'raypipe_%')"
)


@pytest.fixture(scope="session")
def published_churn(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with few_readers(endpoint, tmp_path_factory.mktemp("churn")) as night:
        night.score()
        yield Place(night.publisher, night.client, loaded(night.publisher))


@pytest.fixture(scope="session")
def published_shops(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with spend(endpoint, tmp_path_factory.mktemp("shops")) as place:
        assert place.publish().snapshot is not None
        yield place


@pytest.fixture
def churn(published_churn: Place) -> Iterator[Place]:
    """Provide a published binary label, whose query reads one table: 300 readers with keys of three columns."""
    with copied(published_churn) as place:
        yield place


@pytest.fixture
def shops(published_shops: Place) -> Iterator[Place]:
    """Provide a published number, whose query joins an aggregate, so that the run copied the population first."""
    with copied(published_shops) as place:
        yield place


@contextmanager
def copied(place: Place) -> Iterator[Place]:
    """Provide the tables of a place in a database of their own; the artifacts stay where they are."""
    theirs = identifier(place.client.endpoint.database)
    with _fresh_database(place.client.endpoint) as own, Client(own) as client:
        for (table,) in place.client.rows(f"{_USED} AND engine LIKE '%MergeTree'"):
            client.run(f"CREATE TABLE {table} AS {theirs}.{table}")
            client.run(f"INSERT INTO {table} SELECT * FROM {theirs}.{table}")
        client.run(f"CREATE TABLE IF NOT EXISTS ml_model_features AS {theirs}.ml_model_features")
        for statement in load_all(shipped() / "sql" / "schema" / "0010_raypipe.sql"):
            if "VIEW" in statement.text:
                client.run(statement.text)
        for statement in load_all(shipped() / "sql" / "schema" / "0014_drift.sql"):
            client.run(statement.text)
        for name, table in describe_all(client).items():
            if name in TARGETS:
                current_views.create_missing(client, name, table)
        yield Place(replace(place.publisher, endpoint=own), client, place.loaded)
