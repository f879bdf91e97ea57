"""Fill a database with a year of nights of all pipelines, by SQL alone."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load_all
from raypipe.config.load import Loaded, list_pipelines, load_pipeline
from raypipe.demo.publisher import build
from raypipe.project import shipped

LAST = date(2026, 1, 31)
USERS = 300
LASTING = (
    *("customer_recommendations", "customer_user_segment_assignments", "customer_churn_predictions"),
    *("ml_model_predictions", "ml_model_monitoring"),
)
EVIL = "<b onclick=alert(1)>Evil & Söhne</b>"


def fill(client: Client) -> None:
    """Create the tables, a small publisher, and the year."""
    migrate(client)
    build(client, users=USERS, days=91, seed=1, last_date=LAST)
    # The year is in the past, and its rows must not expire.
    for table in LASTING:
        client.run(f"ALTER TABLE {table} REMOVE TTL")
    for statement in load_all(Path(__file__).with_name("year.sql")):
        client.run(statement.text)
    client.run(
        "INSERT INTO brands (brand_id, brand_name, updated_at)"
        " SELECT brand_id, {name:String}, now() + 60 FROM brands FINAL ORDER BY brand_id LIMIT 1",
        {"name": EVIL},
    )


def pipelines() -> dict[str, Loaded]:
    """Return raypipe's own pipelines."""
    configs = shipped() / "configs"
    return {name: load_pipeline(name, configs, environ={}) for name in list_pipelines(configs)}


if __name__ == "__main__":
    from raypipe.clickhouse.endpoint import Endpoint

    with Client(Endpoint.parse(sys.argv[1])) as opened:
        fill(opened)
