"""What raypipe writes, done by a user who has the grants of sql/grants.sql and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from raypipe.ads import ads
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate, schema
from raypipe.clickhouse.schema.needed import Needed
from raypipe.clickhouse.statements import load_all
from raypipe.config.load import load_pipeline
from raypipe.demo import build
from raypipe.doctor import examine
from raypipe.errors import Denied
from raypipe.features import day as days
from raypipe.features import snapshots
from raypipe.project import shipped
from tests.faults.servers import Embedded

pytestmark = pytest.mark.once

LAST = date(2026, 1, 31)
# The database of the example; and one with the publisher's own tables, which are partitioned by the month.
DATABASE, THEIRS = "publisher", "theirs"
# The embedded engine runs all as its one user, and takes an insert's rows through a temporary table of its own.
OF_THE_ENGINE = ("GRANT CREATE TEMPORARY TABLE ON *.*",)
CONFIG = "<clickhouse><users_config>{}</users_config></clickhouse>"
USERS = """
<clickhouse>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users><default>
        <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
        <grants>{}</grants>
    </default></users>
</clickhouse>
"""


def of_the_nightly_user() -> Iterator[str]:
    """The grants of the example's roles, all of which its nightly user has, in both databases."""
    for statement in load_all(shipped() / "sql" / "grants.sql"):
        match = re.fullmatch(r"(GRANT .+ ON (\S+)) TO raypipe_(?:reader|trainer|sink|publisher)", statement.text)
        if match:
            yield match[1]
            if match[2].startswith(f"{DATABASE}."):
                yield match[1].replace(f" {DATABASE}.", f" {THEIRS}.")


def fill(client: Client) -> None:
    """Makes and fills the tables of both databases."""
    for name in (DATABASE, THEIRS):
        client.run(f"CREATE DATABASE {name}")
    with Client(replace(client.endpoint, database=DATABASE)) as filled:
        migrate(filled)
        build(filled, users=300, days=30, last_date=LAST)
    with Client(replace(client.endpoint, database=THEIRS)) as theirs:
        for statement in load_all(Path(__file__).parents[2] / "publisher" / "schema.sql"):
            theirs.run(statement.text)
        migrate(theirs)
        columns = "event_id, event_type, event_timestamp, device_type_id, user_id, metadata"
        theirs.run(
            f"INSERT INTO customer_events ({columns}) SELECT {columns} FROM {DATABASE}.customer_events"
            " WHERE event_type LIKE 'ad%'"
        )


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An engine with both databases, whose user has the grants of the example's nightly user."""
    folder = tmp_path_factory.mktemp("clickhouse")
    engine = Embedded(folder)
    try:
        with Client(engine.start()) as client:
            fill(client)
        # Whoever asks before it has ended is served by the engine that knows no limits.
        engine.stop()
        # chDB reads the configuration that stands in the folder where it is started.
        users = folder / "users.xml"
        queries = (f"<query>{escape(one)}</query>" for one in (*of_the_nightly_user(), *OF_THE_ENGINE))
        users.write_text(USERS.format("".join(queries)))
        (folder / "config.xml").write_text(CONFIG.format(users))
        yield replace(engine.start(), database=DATABASE)
    finally:
        engine.stop()


def test_the_engine_refuses_what_is_not_granted(limited: Endpoint) -> None:
    with Client(limited) as client:
        for statement in (
            "TRUNCATE TABLE customer_events",
            "CREATE TABLE mine (x UInt8) ENGINE = MergeTree ORDER BY x",
            "DELETE FROM raypipe_runs WHERE 1",
        ):
            with pytest.raises(Denied):
                client.run(statement)


def test_the_doctor_misses_no_grant(limited: Endpoint) -> None:
    (check,) = [one for one in examine(limited, Needed(schema())) if one.name == "grants"]
    assert check.status == "ok", check.detail


@pytest.mark.parametrize("database", [DATABASE, THEIRS])
def test_ads_are_published_and_published_again(limited: Endpoint, tmp_path: Path, database: str) -> None:
    place = replace(limited, database=database)
    loaded = load_pipeline("ads", shipped() / "configs", [f"artifacts={tmp_path}"], environ={})
    ads.run(place, loaded, LAST, lambda stage, done, total: None)
    second = ads.run(place, loaded, LAST, lambda stage, done, total: None).outcome.run.run_id
    with Client(place) as client:
        for table, run in (
            ("ml_model_ab_tests", "JSONExtractString(metadata, 'run_id')"),
            ("ml_model_monitoring", "JSONExtractString(metadata, 'run_id')"),
            ("ml_model_predictions", "batch_id"),
        ):
            assert client.rows(f"SELECT DISTINCT {run} FROM {table}") == [(second,)]


def test_a_days_features_are_made_and_replaced(limited: Endpoint) -> None:
    with Client(limited) as client:
        for status in (days.COMPUTED, days.REPLACED):
            made = snapshots.compute(
                client,
                LAST - timedelta(days=1),
                run_at=datetime(2026, 2, 1, tzinfo=UTC),
                timezone="UTC",
                progress=lambda stage, done, total: None,
                replace=True,
            )
            assert [one.status for one in made.days] == [status]
