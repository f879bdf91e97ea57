"""Test which rows of a run are explained, and by which features."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.score import explain, ledger, run_drift
from raypipe.score.manifest import Manifest
from tests.faults.few import Night, few_readers

ROWS = 7


@pytest.fixture(scope="module")
def night(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with few_readers(endpoint, tmp_path_factory.mktemp("explain")) as made:
        yield made


@pytest.fixture
def explained(night: Night) -> Manifest:
    """Provide a run that died when its rows were explained."""
    night.empty()
    manifest = night.plan(f"score.explain.rows={ROWS}")
    night.dies(manifest, run_drift, "measure")
    return manifest


def users(client: Client, sql: str) -> list[str]:
    return [user for (user,) in client.rows(sql)]


def highest(client: Client, manifest: Manifest) -> list[str]:
    """Return the users with the highest scores, of equal scores the first by key."""
    order = "ORDER BY score DESC, company_id, brand_id, user_id"
    return sorted(users(client, f"SELECT user_id FROM {manifest.staging} {order} LIMIT {ROWS}"))


def test_the_highest_scores_are_explained_by_what_moved_them(night: Night, explained: Manifest) -> None:
    rows = night.client.rows(f"SELECT user_id, contributions FROM {explained.explanations} ORDER BY user_id")
    assert [user for user, _ in rows] == highest(night.client, explained)
    # The small model has looked at a single feature.
    assert {tuple(json.loads(text)) for _, text in rows} == {("days_since_last_session",)}


def test_rows_of_an_attempt_that_died_are_not_explained(night: Night, explained: Manifest) -> None:
    wanted = highest(night.client, explained)
    # The users with the lowest scores, with a high score of an attempt without a receipt.
    lowest = f"SELECT * FROM {explained.staging} ORDER BY score LIMIT {ROWS}"
    night.client.run(f"INSERT INTO {explained.staging} SELECT * REPLACE (1 AS attempt, 2 AS score) FROM ({lowest})")
    for _ in range(2):
        count = explain.write(night.client, explained, ledger.receipts(night.client, explained.run_id))
        assert count == ROWS
        assert users(night.client, f"SELECT user_id FROM {explained.explanations} ORDER BY user_id") == wanted
