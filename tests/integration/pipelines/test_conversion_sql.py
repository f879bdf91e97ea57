"""Test the SQL of the conversion pipeline: free tier, subscriptions and report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.config.load import load_pipeline
from raypipe.data.slices import unsliced
from raypipe.project import shipped
from raypipe.validate import validate as validation

DAY = date(2026, 1, 1)
UNTIL = DAY + timedelta(days=30)
NEVER, LONG_AGO = date(1970, 1, 1), DAY - timedelta(days=365)
VALUES = {"date": DAY, "until": UNTIL, "timezone": "UTC"}


def after(days: int) -> date:
    return DAY + timedelta(days=days)


@dataclass(frozen=True)
class Account:
    """A row of user_accounts, of a paid tier that began a year before DAY where nothing else is said."""

    tier: str = "premium"
    start: date = LONG_AGO
    end: date = NEVER
    status: str = "active"
    changed: date = LONG_AGO


@dataclass(frozen=True)
class Reader:
    """A reader: the tier of the last session, the accounts, whether free at DAY, whether subscribed in (DAY, UNTIL]."""

    tier: str
    accounts: tuple[Account, ...]
    is_free: bool
    label: int


NEW = Account(start=after(5), changed=after(5))
READERS = {
    "without an account": Reader("free", (), True, 0),
    "without an account or a tier": Reader("", (), True, 0),
    "free account": Reader("free", (Account("free", NEVER),), True, 0),
    "subscribes": Reader("free", (NEW,), True, 1),
    "subscribes on the first day": Reader("free", (Account(start=after(1)),), True, 1),
    "subscribes on the last day": Reader("free", (Account(start=UNTIL),), True, 1),
    "subscribes too late": Reader("free", (Account(start=after(31)),), True, 0),
    "subscribes and cancels": Reader("free", (Account(start=after(5), status="cancelled", changed=after(9)),), True, 1),
    "subscribes for a week": Reader("free", (Account(start=after(5), end=after(12), status="expired"),), True, 1),
    "orders and withdraws": Reader("free", (Account(start=after(9), end=after(3), status="cancelled"),), True, 0),
    "orders and is refused": Reader("free", (Account(start=after(9), status="refused", changed=after(3)),), True, 0),
    "paid": Reader("premium", (Account(),), False, 0),
    "paid since the last session": Reader("free", (Account(start=DAY),), False, 0),
    "paid until later": Reader("free", (Account(end=after(1), status="cancelled"),), False, 0),
    "paid, and of another account lapsed": Reader("free", (Account(end=after(-9)), Account("basic")), False, 0),
    "paid, who knows since when": Reader("premium", (), False, 0),
    "lapsed": Reader("free", (Account(end=after(-200), status="expired"),), True, 0),
    "lapsed that day": Reader("free", (Account(end=DAY),), True, 0),
    "lapsed, nobody says when": Reader("free", (Account(status="cancelled"),), True, 0),
    "lapsed, subscribes again": Reader("free", (Account(end=after(-40)), NEW), True, 1),
    "lapsed since the last session": Reader("premium", (Account(end=after(-2), status="expired"),), True, 0),
    "lapsed since, by the change": Reader("premium", (Account(status="cancelled", changed=after(-2)),), True, 0),
    "lapsed since, subscribes again": Reader("premium", (Account(end=after(-2)), NEW), True, 1),
    "cancelled after the day": Reader("premium", (Account(status="cancelled", changed=after(2)),), False, 0),
    # The last session is of the 30 days, so that it was after this end, and still paid.
    "end that was not carried on": Reader("premium", (Account(end=after(-30)),), False, 0),
}


@pytest.fixture
def readers(client: Client) -> Client:
    migrate(client)
    for user, reader in READERS.items():
        snapshot(client, user, reader.tier, DAY)
        for number, one in enumerate(reader.accounts):
            account(client, f"{user} {number}", user, one)
    return client


def snapshot(client: Client, user: str, tier: str, day: date) -> None:
    client.run(
        "INSERT INTO customer_user_features (company_id, brand_id, user_id, feature_date, active_last_30_days,"
        " current_subscription_tier) VALUES ('c', 'b', {user:String}, {day:Date}, 1, {tier:String})",
        {"user": user, "tier": tier, "day": day},
    )


def account(client: Client, name: str, user: str, one: Account) -> None:
    client.run(
        "INSERT INTO user_accounts (account_id, company_id, brand_id, user_id, subscription_tier, subscription_status,"
        " subscription_start_date, subscription_end_date, updated_at) VALUES ({id:String}, 'c', 'b', {user:String},"
        " {tier:String}, {status:String}, {start:Date}, {end:Date}, toDateTime({changed:Date}, 'UTC'))",
        {"id": name, "user": user, **vars(one)},
    )


def sql(name: str) -> str:
    return unsliced(load(shipped() / "sql" / "conversion" / f"{name}.sql").text)


def test_who_is_free_is_scored_with_an_account_or_without(readers: Client) -> None:
    found = [user for (user,) in readers.rows(f"SELECT user_id FROM ({sql('features')})", VALUES)]
    assert sorted(found) == sorted(user for user, reader in READERS.items() if reader.is_free)


def test_everybody_who_is_scored_has_a_label(readers: Client) -> None:
    rows = readers.rows(
        f"SELECT user_id, label FROM (SELECT company_id, brand_id, user_id FROM ({sql('features')})) AS population"
        f" ANY INNER JOIN ({sql('labels')}) AS labelled USING (company_id, brand_id, user_id)",
        VALUES,
    )
    assert dict(rows) == {user: reader.label for user, reader in READERS.items() if reader.is_free}


def test_the_outcome_of_earlier_predictions_is_the_same_label(readers: Client) -> None:
    snapshot(readers, "somebody", "free", UNTIL)
    readers.run(
        "INSERT INTO ml_model_predictions (prediction_type, entity_id, prediction_value, prediction_class,"
        " prediction_date, company_id, brand_id, batch_id) SELECT 'conversion', user_id, 0.25, 'hot', {date:Date},"
        f" company_id, brand_id, 'run' FROM ({sql('features')})",
        VALUES,
    )
    readers.run(
        "INSERT INTO raypipe_runs (run_id, pipeline, date, status) VALUES ('run', 'conversion', {date:Date},"
        " 'PUBLISHED')",
        VALUES,
    )
    # Who had lapsed since the last session subscribes, and the account's one row says nothing of the past any more.
    account(readers, "lapsed since the last session 0", "lapsed since the last session", NEW)
    loaded = load_pipeline("conversion", shipped() / "configs", ["evaluate.bootstrap=20"], {})
    (judged,) = validation.validate(readers, loaded, None, lambda stage, done, total: None).validations
    free = [reader for reader in READERS.values() if reader.is_free]
    assert (judged.rows, judged.left_out) == (len(free), 0)
    assert judged.evaluation["positives"] == sum(reader.label for reader in free) + 1


def test_the_report_shows_the_tier_and_the_value_of_its_own_run(readers: Client) -> None:
    for run, value in (("earlier", 1.5), ("newest", 2.5)):
        bound = {"run": run, "id": f"{run} 1", "date": DAY, "value": value}
        readers.run(
            "INSERT INTO ml_model_predictions (prediction_id, prediction_type, entity_id, prediction_probability,"
            " prediction_date, company_id, brand_id, batch_id) VALUES ({id:String}, 'conversion', 'subscribes', 0.5,"
            " {date:Date}, 'c', 'b', {run:String})",
            bound,
        )
        readers.run(
            "INSERT INTO customer_conversion_predictions (prediction_id, user_id, company_id, brand_id,"
            " prediction_date, conversion_tier, conversion_value, created_at) VALUES ({id:String}, 'subscribes', 'c',"
            " 'b', {date:Date}, {run:String}, {value:Float32}, {at:DateTime})",
            {**bound, "at": datetime(2026, 1, 2, 3)},
        )
    committed = {"run_id": "newest", "pipeline": "conversion", "date": DAY, "status": "PUBLISHED", "sequence": 1}
    readers.insert_rows("raypipe_runs", [{**committed, "started_at": datetime(2026, 1, 2, 3, tzinfo=UTC)}])
    (row,) = readers.table(sql("report"), {"run_id": "newest", "date": DAY}).to_pylist()
    assert (row["user_id"], row["conversion_probability"]) == ("subscribes", 0.5)
    assert (row["conversion_tier"], row["conversion_value"]) == ("newest", 2.5)
