"""Test a view whose tables the user may not read, so that their changes would not be seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from raypipe.clickhouse.client import Client
from raypipe.data import pin
from raypipe.errors import ConfigError
from tests.faults.servers import LIMITED, Embedded

READABLE = ("default.people", "default.gold", "system.*")
SQL = "SELECT id FROM people WHERE day = {date:Date} AND {slice} AND id IN (SELECT id FROM gold)"


def test_a_view_of_tables_that_the_user_may_not_read_is_refused_by_name(tmp_path: Path) -> None:
    engine = Embedded(tmp_path / "clickhouse", grants=[f"GRANT SELECT ON {table}" for table in READABLE])
    try:
        server = engine.start()
        with Client(server) as admin, Client(replace(server, user=LIMITED)) as client:
            admin.run("CREATE TABLE people (day Date, id UInt64) ENGINE = MergeTree PARTITION BY day ORDER BY id")
            admin.run("CREATE TABLE tiers (id UInt64) ENGINE = MergeTree ORDER BY id")
            admin.run("CREATE VIEW gold DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT id FROM tiers")
            day = date(2026, 1, 31)
            assert client.rows("SELECT id FROM gold") == []
            with pytest.raises(ConfigError) as refused:
                pin.take(client, SQL, {"date": day}, "people", {"day": day}, "features.sql")
    finally:
        engine.stop()
    assert f"default.gold (a view of tables that {LIMITED} may not read)" in str(refused.value.found)
