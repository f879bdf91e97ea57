"""The tables of the configured pipelines, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from raypipe.clickhouse.schema.migrate import schema
from raypipe.clickhouse.schema.needed import Needed, needed, tables_of
from raypipe.config.load import list_pipelines, load_pipeline
from raypipe.project import shipped

TELCO = Path(__file__).resolve().parents[4] / "examples" / "telco" / "configs"


def of_pipelines(directory: Path) -> Needed:
    pipelines = [load_pipeline(name, directory, environ={}) for name in list_pipelines(directory)]
    return needed(
        {table for loaded in pipelines for table in loaded.tables()},
        {path for loaded in pipelines for path in loaded.sql_files()},
    )


def names(tables: Needed) -> set[str]:
    return {declaration.name for declaration in tables.declarations}


def test_a_project_of_its_own_gets_no_table_of_the_publisher() -> None:
    tables = of_pipelines(TELCO)
    own = {declaration.name for declaration in schema() if declaration.name.startswith(("ml_", "raypipe_"))}
    assert names(tables) == {name for name in own if not name.startswith("raypipe_current_customer")}
    assert tables.foreign == ("telco_customers",)


def test_the_shipped_pipelines_get_what_their_sql_reads_and_writes() -> None:
    tables = of_pipelines(shipped() / "configs")
    assert tables.foreign == ()
    assert names(tables) >= {
        *("customer_user_features", "customer_sessions", "customer_events"),
        *("customer_churn_predictions", "customer_recommendations", "customer_user_segments"),
        # Read by the daily features alone.
        *("editorial_content_events", "editorial_article_performance", "categories"),
        # Read by an included file alone.
        *("brands", "cities", "editorial_authors"),
    }
    # Only the demo fills these.
    assert not names(tables) & {"brand_countries", "editorial_author_performance"}


def test_the_features_of_the_day_are_read_only_by_pipelines_that_wait_for_them(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    text = (TELCO / "telco.yaml").read_text()
    (tmp_path / "configs" / "telco.yaml").write_text(f"{text}\nafter: [features]\n")
    assert "customer_sessions" in names(of_pipelines(tmp_path / "configs"))


def test_the_order_of_creation_is_kept() -> None:
    order = [declaration.name for declaration in schema()]
    chosen = [declaration.name for declaration in needed(["brands", "users"], []).declarations]
    assert chosen == [name for name in order if name in chosen]


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1 FROM users AS u LEFT JOIN `brands` USING (id)", ["users", "brands"]),
        ("SELECT 1 from users WHERE id IN (SELECT id FROM users)", ["users"]),
        ("SELECT 1 FROM crm.users JOIN `crm`.`brands` USING (id)", []),
        ("SELECT u FROM sales ARRAY JOIN users AS u", ["sales"]),
        ("SELECT 1 FROM sales -- JOIN users", ["sales"]),
        ("SELECT 1 FROM users, `brands` AS b, crm.sales, cities c WHERE 1", ["users", "brands", "cities"]),
        ("SELECT 1 FROM users AS u FINAL\n  , brands", ["users", "brands"]),
        ("SELECT 1 FROM users GROUP BY brands, cities", ["users"]),
        ("SELECT 1 FROM sales LEFT ARRAY JOIN users AS u, brands AS b", ["sales"]),
        ("SELECT (SELECT 1 FROM users), brands FROM sales ORDER BY a, cities", ["users", "sales"]),
    ],
)
def test_tables_stand_behind_from_and_join(sql: str, tables: list[str]) -> None:
    assert tables_of(sql) == tables
