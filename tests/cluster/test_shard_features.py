"""Test that the demo and the features of a day are on two shards as they are on one server."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.demo.publisher import build
from raypipe.features import snapshots
from raypipe.progress import silent
from tests.cluster.shards import Shards

LAST = date(2026, 1, 31)
NOW = datetime(2026, 2, 1, 6, tzinfo=UTC)
COLUMNS = (
    "company_id, brand_id, user_id, total_sessions, days_active, days_since_last_session, preferred_device_type_id,"
    " preferred_category_id, current_subscription_tier, JSONExtractUInt(ml_features, 'articles_viewed'),"
    " arraySort(JSONExtractKeys(ml_features))"
)


def demo_with_features(endpoint: Endpoint) -> list[tuple[Any, ...]]:
    """Fill a database, build the newest day anew, and return its features."""
    migrate_at(endpoint)
    with Client(endpoint) as client:
        build(client, users=300, days=40, seed=3, last_date=LAST, written_at=datetime(2026, 2, 1))
        (built,) = snapshots.compute(client, LAST, run_at=NOW, timezone="UTC", progress=silent, replace=True).days
        assert built.status == "replaced"
        rows = client.rows(f"SELECT {COLUMNS} FROM customer_user_features WHERE feature_date = '{LAST}' ORDER BY ALL")
        assert built.rows == len(rows)
        return rows


def test_features_are_those_of_one_server_and_each_shard_computes_its_own(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[tuple[str, str]] = []
    real = Client.run

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if re.match(r"INSERT INTO `raypipe_twin_features", sql):
            filled.append((self.endpoint.url, self.endpoint.database))
        real(self, sql, *arguments, **options)

    monkeypatch.setattr(Client, "run", run)
    sharded = shards.endpoint("features")
    on_shards = demo_with_features(sharded)
    # The demo builds the day, and the test builds it again.
    assert filled == [(shard.url, "features_shard") for shard in sharded.sharding.shards] * 2
    assert on_shards == demo_with_features(replace(shards.address(1, "features_alone"), cluster=None))
    with Client(sharded) as client:
        users = [
            shard.value("SELECT uniqExact(user_id) FROM customer_user_features") for shard in sharding.shards(client)
        ]
        events = [shard.value("SELECT count() FROM customer_events") for shard in sharding.shards(client)]
        assert min(users) > 0
        assert min(events) > 0
