"""Test the ads pipeline from events to published policies, on a real ClickHouse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from raypipe.ads import ads, bandit, monitoring
from raypipe.ads.ab_tests import PolicyRun
from raypipe.ads.ads import PublishedPolicy
from raypipe.ads.events import AdEvents, AdWindow
from raypipe.ads.fit import FittedPolicy
from raypipe.ads.revenue import ArmTotals
from raypipe.artifact.files import Artifact
from raypipe.cli import app
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load, load_all
from raypipe.config.ads import Ads
from raypipe.config.load import load_pipeline
from raypipe.errors import Busy, DataError, GateRefused, ServerError, UsageError
from raypipe.evaluation.decision import Decision
from raypipe.project import shipped
from raypipe.registry import aliases, champions, models
from tests.conftest import PUBLISHER_LAST_DATE, _fresh_database
from tests.factories import model_record
from tests.faults.proxy import Rule, exception, proxied

DAY = PUBLISHER_LAST_DATE
COPIED = (
    "companies",
    "brands",
    "device_types",
    "categories",
    "editorial_articles",
    "customer_events",
    "demo_arms",
)
# Everything that a run leaves for readers, without what tells one run from another.
LEFT = {
    "ml_model_registry": "model_version, model_status",
    "ml_model_features": "model_id, feature_name, mean_value",
    "ml_model_training_runs": "model_id, run_status",
    "raypipe_aliases": "alias, model_version",
    "ml_model_ab_tests": "test_id, model_a_id, model_b_id, model_b_metric, test_status",
    "ml_model_monitoring": "monitoring_date, error_count, prediction_distribution",
    "ml_model_predictions": "entity_id, prediction_class, prediction_value, prediction_probability, metadata",
}
OWN_TABLES = (
    "SELECT name FROM system.tables WHERE database = currentDatabase()"
    " AND match(name, 'raypipe_(staging|portion|snapshot|twin|explain|lock)')"
)


@dataclass(frozen=True)
class Place:
    """A database with every table, and the folder of its artifacts."""

    client: Client
    artifacts: Path

    def run(self, day: date | None = DAY, *overrides: str) -> PublishedPolicy:
        made = load_pipeline("ads", shipped() / "configs", [f"artifacts={self.artifacts}", *overrides], environ={})
        return ads.run_ads(self.client.endpoint, made, day, lambda stage, done, total: None)

    def left(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of every table that a run writes."""
        final = ("ml_model_registry", "ml_model_features", "ml_model_training_runs", "ml_model_ab_tests")
        return {
            table: self.client.rows(
                f"SELECT {columns} FROM {table} {'FINAL' if table in final else ''} ORDER BY {columns}"
            )
            for table, columns in LEFT.items()
        }

    def count(self, table: str, condition: str = "1") -> int:
        return int(self.client.value(f"SELECT count() FROM {table} WHERE {condition}"))

    def show(self, *events: dict[str, Any]) -> None:
        """Add ad events. By default the reader is anonymous, on a phone and in the last days."""
        known = {"event_type": "ad_impression", "device_type_id": "phone", "user_id": "", "article_id": ""}
        already = self.count("customer_events")
        rows = [
            {
                **known,
                "session_id": f"s{number}",
                "event_timestamp": datetime(2026, 1, 30, 12),
                "event_id": f"{already + number}",
                **event,
            }
            for number, event in enumerate(events)
        ]
        data = pa.Table.from_pylist(rows).set_column(
            list(rows[0]).index("event_timestamp"),
            "event_timestamp",
            pa.array([row["event_timestamp"] for row in rows], pa.timestamp("s", tz="UTC")),
        )
        self.client.insert("customer_events", data, columns=data.schema.names)


def impression(arm: str, propensity: float | None = 0.5, **more: Any) -> dict[str, Any]:
    told = {"arm": arm} if propensity is None else {"arm": arm, "propensity": propensity}
    return {"metadata": json.dumps(told), **more}


def click(arm: str, revenue: float, propensity: float | None = 0.5, **more: Any) -> dict[str, Any]:
    told = {"arm": arm, "revenue": revenue} | ({} if propensity is None else {"propensity": propensity})
    return {"event_type": "ad_click", "metadata": json.dumps(told), **more}


def rounds(
    count: int, *arms: str, earning: Sequence[str] = (), start: int = 0, propensity: float | None = 0.5, **more: Any
) -> list[dict[str, Any]]:
    """Show each arm to its own readers. Every fourth impression of an earning arm is clicked."""
    made = []
    for number in range(start, start + count):
        for arm in arms:
            made.append(impression(arm, propensity, user_id=f"{arm}{number}", **more))
            if arm in earning and number % 4 == 0:
                made.append(click(arm, 1.0, propensity, user_id=f"{arm}{number}", **more))
    return made


EARLY = {"event_timestamp": datetime(2026, 1, 10, 12)}


@pytest.fixture(scope="module")
def tables(endpoint: Endpoint) -> Iterator[Client]:
    """A database with every table; to make it anew for each test would take longer than the tests."""
    with _fresh_database(endpoint) as fresh, Client(fresh) as client:
        migrate(client)
        yield client


@pytest.fixture
def place(tables: Client, tmp_path: Path) -> Place:
    """A database without events, and without what another test has left."""
    for table in (*LEFT, *COPIED, "raypipe_runs", "raypipe_slices"):
        tables.run(f"TRUNCATE TABLE IF EXISTS {table}")
    for (name,) in tables.rows(OWN_TABLES):
        tables.run(f"DROP TABLE {name} SYNC")
    return Place(tables, tmp_path)


@pytest.fixture
def filled(publisher: Endpoint, place: Place) -> Place:
    """The synthetic publisher's ads, articles and names, and its truth about the arms."""
    for table in COPIED:
        theirs = f"{publisher.database}.{table}"
        place.client.run(f"CREATE TABLE IF NOT EXISTS {table} AS {theirs}")
        condition = "event_type LIKE 'ad%'" if table == "customer_events" else "1"
        place.client.run(f"INSERT INTO {table} SELECT * FROM {theirs} WHERE {condition}")
    return place


def true_value(place: Place, policy: bandit.Policy, since: date) -> float:
    """Return a policy's true revenue per impression, over the contexts from a day on."""
    rows = place.client.rows(
        "SELECT arms.device_type_id, arm, revenue_per_impression, shown FROM demo_arms AS arms"
        " JOIN (SELECT device_type_id, count() AS shown FROM customer_events WHERE event_type = 'ad_impression'"
        " AND event_timestamp >= toDateTime({since:Date}, 'UTC') GROUP BY device_type_id) AS context"
        " ON context.device_type_id = arms.device_type_id",
        {"since": since},
    )
    total = sum(shown for *_, shown in rows) / 4
    shares = policy.shares()
    return sum(shares.get((device, arm), 0.0) * revenue * shown for device, arm, revenue, shown in rows) / total


def test_the_true_best_arm_of_every_device_is_recommended(filled: Place) -> None:
    best = dict(
        filled.client.rows("SELECT device_type_id, argMax(arm, revenue_per_impression) FROM demo_arms GROUP BY 1")
    )
    shown_most = dict(filled.client.rows("SELECT device_type_id, argMax(arm, propensity) FROM demo_arms GROUP BY 1"))
    outcome = filled.run()
    found = dict(filled.client.rows("SELECT entity_id, prediction_class FROM raypipe_current_predictions"))
    assert found == best
    # The demo's arms that are shown most are not the best ones: whoever counts revenue alone is wrong.
    assert all(best[device] != shown_most[device] for device in best)
    assert all(context.control == shown_most[name] for name, context in outcome.fitted.policy.contexts.items())


def test_the_interval_of_snips_covers_the_true_value_of_the_judged_policy(filled: Place) -> None:
    fitted = filled.run().fitted
    assert fitted.judged is not None
    assert fitted.value is not None
    truth = true_value(filled, fitted.judged, DAY - timedelta(days=6))
    snips, logging = fitted.value.snips, fitted.value.logging
    assert snips.low is not None
    assert snips.high is not None
    assert logging.high is not None
    assert snips.low < truth < snips.high
    # What was shown earned less: its own interval does not reach the value of the policy.
    assert logging.high < truth
    assert fitted.value.propensities == "logged"
    assert fitted.value.mean_weight == pytest.approx(1, abs=0.1)


def test_propensities_estimated_by_frequency_give_nearly_the_same_value(filled: Place) -> None:
    logged = filled.run().fitted.value
    filled.client.run(
        "ALTER TABLE customer_events UPDATE metadata = replaceOne(metadata, 'propensity', 'unknown') WHERE 1",
        settings={"mutations_sync": 2},
    )
    estimated = filled.run().fitted.value
    assert logged is not None
    assert estimated is not None
    assert estimated.propensities == "estimated by frequency"
    assert estimated.snips.value == pytest.approx(logged.snips.value, rel=0.1)


def test_a_second_run_of_a_day_leaves_one_set_of_rows(filled: Place) -> None:
    first = filled.run()
    left = filled.left()
    second = filled.run()
    assert filled.left() == left
    assert {name: len(rows) for name, rows in left.items()} == {
        "ml_model_registry": 1,
        "ml_model_features": 4,
        "ml_model_training_runs": 1,
        "raypipe_aliases": 1,
        "ml_model_ab_tests": 9,
        "ml_model_monitoring": 1,
        "ml_model_predictions": 3,
    }
    assert filled.client.rows("SELECT run_id, status FROM raypipe_runs FINAL ORDER BY started_at, status DESC") == [
        (first.outcome.run.run_id, "SUPERSEDED"),
        (second.outcome.run.run_id, "PUBLISHED"),
    ]
    for table, run in (
        ("ml_model_ab_tests", "JSONExtractString(metadata, 'run_id')"),
        ("ml_model_monitoring", "JSONExtractString(metadata, 'run_id')"),
        ("ml_model_predictions", "batch_id"),
    ):
        assert filled.client.rows(f"SELECT DISTINCT {run} FROM {table}") == [(second.outcome.run.run_id,)]
    assert filled.client.rows(OWN_TABLES) == []


def test_late_events_make_a_new_version_and_replace_the_days_rows(filled: Place) -> None:
    first = filled.run()
    filled.show(*rounds(40, "native", earning=["native"], device_type_id="a new device"))
    second = filled.run()
    assert first.version.version != second.version.version
    # Not in the order of created_at: both can be of the same second.
    assert dict(filled.client.rows("SELECT model_version, model_status FROM ml_model_registry FINAL")) == {
        first.version.version: "ARCHIVED",
        second.version.version: "PRODUCTION",
    }
    # Four devices, of which the new one has a single arm.
    assert filled.count("ml_model_predictions") == 4
    assert filled.count("ml_model_ab_tests") == 10
    assert filled.count("ml_model_monitoring") == 1


def test_an_earlier_day_is_published_beside_a_later_one_and_does_not_become_champion(filled: Place) -> None:
    later = filled.run()
    earlier = filled.run(DAY - timedelta(days=2))
    assert (later.version.status, earlier.version.status) == ("PRODUCTION", "CANDIDATE")
    assert filled.client.rows("SELECT prediction_date, count() FROM ml_model_predictions GROUP BY 1 ORDER BY 1") == [
        (DAY - timedelta(days=2), 3),
        (DAY, 3),
    ]
    assert filled.count("ml_model_monitoring") == 2


def test_the_newest_day_is_that_of_the_newest_ad_event_of_a_day_that_is_over(place: Place) -> None:
    today = datetime.now(UTC)
    later = [
        {**impression("a"), "event_timestamp": today + timedelta(days=ahead), "event_id": f"later {ahead}"}
        for ahead in (0, 1, 400)
    ]
    place.show(*later)
    with pytest.raises(DataError, match="no ad event of a finished day"):
        place.run(None)
    place.show(*rounds(100, "a", "b", earning=["a"]))
    found = place.run(None)
    assert found.outcome.run.date == date(2026, 1, 30)
    assert sum(row["impressions"] for row in found.events.rows()) == 200


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_day_that_is_not_over_is_refused(place: Place, ahead: int) -> None:
    # In a zone where it is not yet today when it is in UTC.
    today = datetime.now(ZoneInfo("Pacific/Honolulu")).date()
    with pytest.raises(UsageError, match="has not ended"):
        place.run(today + timedelta(days=ahead), "timezone=Pacific/Honolulu")
    assert place.left() == {table: [] for table in LEFT}


def test_the_report_names_what_the_ids_mean(filled: Place) -> None:
    outcome = filled.run()
    report = load(shipped() / "sql" / "ads" / "report.sql").text
    names, rows = filled.client.named_rows(report, {"run_id": outcome.outcome.run.run_id, "date": DAY})
    found = [dict(zip(names, row, strict=True)) for row in rows]
    assert len(found) == 12
    assert {row["device_type_name"]: row["arm"] for row in found if row["is_recommended"]} == {
        "Mobile": "native",
        "Desktop": "video",
        "Tablet": "newsletter",
    }
    by_arm = {arm.arm: arm for context in outcome.fitted.policy.contexts.values() for arm in context.arms}
    assert {row["arm"] for row in found} == by_arm.keys()
    assert all(row["low"] < row["expected"] < row["high"] for row in found)
    assert sum(row["share"] for row in found) == pytest.approx(3)


def test_the_publishers_own_tables_are_published_into_as_they_are(endpoint: Endpoint, tmp_path: Path) -> None:
    """Monthly partitions: rows come in by MOVE, and an earlier run's go out by their batch."""
    with _fresh_database(endpoint) as theirs, Client(theirs) as client:
        for statement in load_all(Path(__file__).parents[2] / "publisher" / "schema.sql"):
            client.run(statement.text)
        migrate(client)
        place = Place(client, tmp_path)
        place.show(*rounds(200, "a", "b", earning=["a"], **EARLY), *rounds(200, "a", "b", earning=["a"], start=200))
        place.run()
        left = place.left()
        place.run()
        assert place.left() == left
        assert place.count("ml_model_predictions") == 1


def test_broken_json_is_counted_and_skipped(place: Place) -> None:
    good = [*rounds(200, "a", "b", earning=["a"], **EARLY), *rounds(200, "a", "b", earning=["a"], start=200)]
    place.show(*good)
    clean = place.run()
    place.show(
        {"metadata": '{"arm":"a","propensity":'},
        {"metadata": "not JSON at all"},
        {"metadata": ""},
        {"metadata": "{}"},
        {"metadata": '{"arm":""}'},
        {"metadata": "[1, 2]"},
        click("a", -3.0),
        click("a", 1e300),
        {"event_type": "ad_click", "metadata": '{"arm":"a","revenue":"1,50"}'},
    )
    soiled = place.run()
    assert dict(soiled.events.unusable) == {
        "broken JSON": 3,
        "no arm": 3,
        "revenue out of range": 2,
        "revenue is not a number": 1,
    }
    assert soiled.events.events == clean.events.events + 9
    assert soiled.fitted.policy == clean.fitted.policy
    assert soiled.fitted.value == clean.fitted.value
    (row,) = place.client.rows("SELECT error_count, error_rate, error_types FROM ml_model_monitoring")
    assert (row[0], row[1]) == (9, pytest.approx(9 / soiled.events.events))
    assert json.loads(row[2]) == dict(soiled.events.unusable)


def test_a_click_may_earn_nothing_and_a_revenue_may_be_small_or_a_text(place: Place) -> None:
    unpaid = {"event_type": "ad_click", "metadata": '{"arm":"a","revenue":null}'}
    as_text = {"event_type": "ad_click", "metadata": '{"arm":"a","revenue":"0.0005"}'}
    place.show(*(impression("a") for _ in range(9)), unpaid, as_text, click("a", 0.0007))
    (arm,) = place.run().fitted.policy.contexts["phone"].arms
    assert (arm.totals.impressions, arm.totals.clicks) == (9, 3)
    assert arm.totals.revenue == pytest.approx(0.0012)
    # Of a millionth, which six digits would cut off; without it the revenue would seem to be without variance.
    assert arm.totals.revenue_squares == pytest.approx(0.0005**2 + 0.0007**2)


def test_two_contexts_whose_ids_read_the_same_are_not_one(place: Place) -> None:
    place.show(impression("a", company_id="c/1", brand_id="2"), impression("a", company_id="c", brand_id="1/2"))
    with pytest.raises(DataError, match="Two contexts of ads have the id 'c/1/2'"):
        place.run(DAY, "ads.context=[company,brand]")
    assert place.run(DAY, "ads.context=[company]").outcome.run.rows_published == 2


def test_too_many_broken_events_stop_the_run_before_anything_is_written(place: Place) -> None:
    place.show(*rounds(50, "a", "b", earning=["a"]), *({"metadata": "{"} for _ in range(20)))
    with pytest.raises(GateRefused, match="Too many ad events cannot be used"):
        place.run()
    assert place.left() == {table: [] for table in LEFT}
    assert place.client.rows(OWN_TABLES) == []
    assert place.run(DAY, "ads.max_unusable=0.5").outcome.run.rows_published == 1


def test_what_an_impression_promises_is_no_revenue_before_its_click(place: Place) -> None:
    promised = {"metadata": json.dumps({"arm": "a", "propensity": 0.5, "revenue": 7.0})}
    place.show(promised, promised, click("a", 1.0))
    (arm,) = place.run().fitted.policy.contexts["phone"].arms
    assert (arm.totals.impressions, arm.totals.clicks, arm.totals.revenue, arm.totals.revenue_squares) == (
        2,
        1,
        1.0,
        1.0,
    )


def test_anonymous_readers_count_for_the_arm_and_not_among_its_users(place: Place) -> None:
    early, late = impression("a", user_id="known", **EARLY), impression("a", user_id="known")
    place.show(early, late, impression("a", user_id="other"), *(impression("a") for _ in range(5)))
    outcome = place.run()
    (arm,) = outcome.fitted.policy.contexts["phone"].arms
    assert arm.totals.impressions == 8
    assert outcome.events.users == {("phone", "a"): 2}
    details = json.loads(place.client.value("SELECT metadata FROM ml_model_ab_tests"))
    assert details["arms"]["a"]["users"] == 2


@pytest.mark.parametrize(
    ("zone", "seen"),
    [("UTC", {"first": 1, "last": 1}), ("Europe/Helsinki", {"before": 1, "first": 1})],
)
def test_days_are_cut_in_the_zone_of_the_config(place: Place, zone: str, seen: dict[str, int]) -> None:
    """The window of one training and one test day is 2026-01-30 to 31."""
    place.show(
        impression("before", event_timestamp=datetime(2026, 1, 29, 23, 59, 59)),
        impression("first", event_timestamp=datetime(2026, 1, 30)),
        impression("last", event_timestamp=datetime(2026, 1, 31, 23, 59, 59)),
        impression("after", event_timestamp=datetime(2026, 2, 1)),
    )
    outcome = place.run(DAY, "ads.window_days=2", "ads.test_days=1", f"timezone={zone}")
    arms = {arm.arm: arm.totals.impressions for arm in outcome.fitted.policy.contexts["phone"].arms}
    assert arms == seen
    parts = {row["arm"]: row["part"] for row in outcome.events.rows()}
    assert parts.get("last", "test") == "test"
    assert parts["first"] == "train"


def test_a_context_of_device_and_category_asks_the_article_for_its_newest_category(place: Place) -> None:
    place.client.run(
        "INSERT INTO editorial_articles (article_id, primary_category_id, updated_at) VALUES"
        " ('one', 'old', '2026-01-01 00:00:00')"
    )
    place.client.run(
        "INSERT INTO editorial_articles (article_id, primary_category_id, updated_at) VALUES"
        " ('one', 'politics', '2026-01-02 00:00:00')"
    )
    place.show(impression("a", article_id="one"), impression("a", article_id="one"), impression("a"))
    outcome = place.run(DAY, "ads.context=[device,category]")
    seen = {name: context.arms[0].totals.impressions for name, context in outcome.fitted.policy.contexts.items()}
    assert seen == {"phone/politics": 2, "phone/": 1}
    observed = dict(place.client.rows("SELECT entity_id, input_features FROM ml_model_predictions"))
    assert json.loads(observed["phone/politics"])["category_id"] == "politics"


def test_a_context_of_brands_fills_the_columns_of_company_and_brand(place: Place) -> None:
    place.show(impression("a", company_id="c", brand_id="b1"), impression("a", company_id="c", brand_id="b2"))
    place.run(DAY, "ads.context=[company,brand]")
    columns = "entity_id, company_id, brand_id"
    expected = [("c/b1", "c", "b1"), ("c/b2", "c", "b2")]
    assert place.client.rows(f"SELECT {columns} FROM ml_model_predictions ORDER BY 1") == expected
    tests = "SELECT company_id, brand_id, test_status FROM ml_model_ab_tests ORDER BY 2"
    assert place.client.rows(tests) == [("c", "b1", "ONE_ARM"), ("c", "b2", "ONE_ARM")]


def test_without_any_revenue_no_arm_is_recommended_and_all_are_shown_alike(place: Place) -> None:
    place.show(*rounds(100, "a", "b"), click("a", 0.0))
    outcome = place.run()
    (row,) = place.client.rows("SELECT prediction_class, prediction_value, metadata FROM ml_model_predictions")
    assert row[:2] == ("", 0.0)
    answer = json.loads(row[2])
    assert answer["status"] == bandit.NO_REVENUE
    assert [(arm, told["share"]) for arm, told in answer["arms"]] == [("a", 0.5), ("b", 0.5)]
    assert place.client.rows("SELECT test_status FROM ml_model_ab_tests") == [("NO_REVENUE",)]
    assert "context 'phone': no revenue" in outcome.fitted.warnings


def test_an_arm_of_the_config_that_was_never_shown_gets_a_share(place: Place) -> None:
    place.show(*rounds(100, "a", "b", earning=["a"]))
    place.run(DAY, "ads.arms=[new]")
    answer = json.loads(place.client.value("SELECT metadata FROM ml_model_predictions"))
    told = dict(answer["arms"])
    assert told["new"]["impressions"] == 0
    assert told["new"]["share"] >= 0.02
    assert place.client.value("SELECT test_status FROM ml_model_ab_tests WHERE model_b_id = 'new'") == "NOT_SHOWN"


def test_a_policy_that_is_worse_than_what_was_shown_is_registered_and_not_published(place: Place) -> None:
    place.show(*rounds(300, "a", "b", earning=["a"], **EARLY), *rounds(300, "a", "b", earning=["b"], start=300))
    with pytest.raises(GateRefused, match="not good enough to publish") as refused:
        place.run()
    assert str(refused.value.found).startswith("worse than the logged ads")
    assert place.client.rows("SELECT model_status FROM ml_model_registry FINAL") == [("CANDIDATE",)]
    for table in (
        "ml_model_predictions",
        "ml_model_ab_tests",
        "ml_model_monitoring",
        "raypipe_aliases",
        "raypipe_runs",
    ):
        assert place.count(table) == 0
    assert place.client.rows(OWN_TABLES) == []


@pytest.fixture
def broken_publish(place: Place, tmp_path: Path) -> Callable[[], PublishedPolicy]:
    """Runs with a publish.sql that yields a row too few."""
    project = tmp_path / "project"
    (project / "configs").mkdir(parents=True)
    (project / "sql" / "ads").mkdir(parents=True)
    for name in ("base.yaml", "ads.yaml"):
        (project / "configs" / name).write_text((shipped() / "configs" / name).read_text())
    for path in (shipped() / "sql" / "ads").iterdir():
        text = path.read_text()
        (project / "sql" / "ads" / path.name).write_text(
            text.replace("FROM {staging}", "FROM {staging} LIMIT 1") if path.name == "publish.sql" else text
        )
    loaded = load_pipeline("ads", project / "configs", [f"artifacts={place.artifacts}"], environ={})
    return lambda: ads.run_ads(place.client.endpoint, loaded, DAY, lambda stage, done, total: None)


def test_a_publication_that_fails_leaves_the_published_predictions_and_is_repaired_by_the_next(
    place: Place, broken_publish: Callable[[], PublishedPolicy]
) -> None:
    place.show(*rounds(100, "a", "b", earning=["a"]), *rounds(100, "a", "b", earning=["b"], device_type_id="tablet"))
    first = place.run()
    place.show(*rounds(100, "a", "b", earning=["a"], start=100))
    with pytest.raises(GateRefused, match="rows for ml_model_predictions are not the staged rows"):
        broken_publish()
    assert aliases.current(place.client, "ads", aliases.CHAMPION).version == first.version.version
    assert place.client.rows("SELECT DISTINCT batch_id FROM ml_model_predictions") == [(first.outcome.run.run_id,)]
    assert place.count("raypipe_current_predictions") == 2
    third = place.run()
    assert third.version.version != first.version.version
    assert aliases.current(place.client, "ads", aliases.CHAMPION).version == third.version.version
    assert place.count("ml_model_ab_tests") == 2
    assert place.count("ml_model_monitoring") == 1
    assert place.client.rows("SELECT DISTINCT batch_id FROM ml_model_predictions") == [(third.outcome.run.run_id,)]
    assert place.client.rows(OWN_TABLES) == []


def test_a_version_is_registered_when_all_of_it_is_there(place: Place) -> None:
    place.show(*rounds(100, "a", "b", earning=["a"]))
    place.client.run("RENAME TABLE ml_model_features TO features_elsewhere")
    try:
        with pytest.raises(ServerError, match="UNKNOWN_TABLE"):
            place.run()
    finally:
        place.client.run("RENAME TABLE features_elsewhere TO ml_model_features")
    assert place.count("ml_model_registry") == 0
    place.run()
    assert place.count("ml_model_features") == 4


def test_what_an_earlier_run_left_and_could_not_be_removed_is_told_and_goes_with_the_next(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.show(*rounds(100, "a", "b", earning=["a"]))
    place.run()
    assert "remain" not in caplog.text
    loaded = load_pipeline("ads", shipped() / "configs", [f"artifacts={place.artifacts}"], environ={})
    with proxied(place.client.endpoint.url) as between:
        refusal = exception(241, "MEMORY_LIMIT_EXCEEDED")
        between.add(Rule(b"DELETE FROM `ml_model_monitoring`", "answer", answer=refusal, once=False))
        through = replace(place.client.endpoint, url=between.url)
        second = ads.run_ads(through, loaded, DAY, lambda stage, done, total: None)
    assert "rows of an earlier run's tests and monitoring remain" in caplog.text
    assert place.client.rows("SELECT DISTINCT batch_id FROM ml_model_predictions") == [(second.outcome.run.run_id,)]
    assert place.count("ml_model_monitoring") == 2
    place.run()
    assert place.count("ml_model_monitoring") == 1


def test_why_a_run_failed_is_not_covered_by_a_table_that_could_not_be_dropped(place: Place) -> None:
    place.show(*rounds(100, "a", "b", earning=["a"]))
    loaded = load_pipeline("ads", shipped() / "configs", [f"artifacts={place.artifacts}"], environ={})
    with proxied(place.client.endpoint.url) as between:
        between.add(Rule(b"INSERT INTO `raypipe_snapshot_", "answer", answer=exception(241, "MEMORY_LIMIT_EXCEEDED")))
        between.add(Rule(b"DROP TABLE IF EXISTS `raypipe_snapshot_", "answer", answer=exception(497, "ACCESS_DENIED")))
        with pytest.raises(ServerError, match="MEMORY_LIMIT_EXCEEDED"):
            ads.run_ads(replace(place.client.endpoint, url=between.url), loaded, DAY, lambda stage, done, total: None)


def test_more_alerts_than_the_table_can_count_are_its_most(place: Place) -> None:
    policy = bandit.learn({"phone": {"a": ArmTotals(1)}}, Ads(), seed=0)
    window = AdWindow(DAY, "UTC", Ads())
    run = PolicyRun("other", datetime(2026, 2, 1, tzinfo=UTC), "ads", "model", "version", window)
    fitted = FittedPolicy(policy, None, None, Decision(True, "", "revenue"), ("a warning",) * 70_000, 0.0)
    events = AdEvents(pa.table({}), {}, {}, 1, {}, "")
    monitoring.write_monitoring(place.client, run, fitted, events, {}, 0.25)
    assert place.client.value("SELECT max(alerts_triggered) FROM ml_model_monitoring") == 65_535


def test_a_run_that_holds_the_lock_keeps_others_out_until_it_is_taken_over(place: Place) -> None:
    place.show(*rounds(100, "a", "b", earning=["a"]))
    somebody = lock.Owner("ads_20260131_elsewhere", "another host", 1, "2026-01-31T00:00:00")
    lock.acquire(place.client, "ads", somebody)
    with pytest.raises(Busy, match="a run is at work"):
        place.run()
    for table in ("ml_model_registry", "ml_model_predictions", "ml_model_ab_tests", "ml_model_monitoring"):
        assert place.count(table) == 0
    loaded = load_pipeline("ads", shipped() / "configs", [f"artifacts={place.artifacts}"], environ={})
    ads.run_ads(place.client.endpoint, loaded, DAY, lambda stage, done, total: None, take_over=True)
    assert place.count("ml_model_predictions") == 1


def test_a_champion_of_another_kind_is_replaced(place: Place, tmp_path: Path) -> None:
    place.show(*rounds(100, "a", "b", earning=["a"]))
    now = datetime.now(UTC)
    other = replace(model_record("1", now, Artifact("/nowhere", "ab"), "cd"), pipeline="ads")
    champions.promote(place.client, models.register(place.client, other, now), "by hand", "a test", now)
    assert place.run().version.status == "PRODUCTION"


def test_without_an_impression_the_failed_fit_is_on_record(place: Place) -> None:
    place.show(click("a", 1.0))
    with pytest.raises(DataError, match="No ad was shown"):
        place.run()
    ((status, message),) = place.client.rows("SELECT run_status, error_message FROM ml_model_training_runs FINAL")
    assert status == "FAILED"
    assert message.startswith("No ad was shown")
    assert place.count("ml_model_registry") == 0


def test_a_database_without_ad_events_is_refused(place: Place) -> None:
    with pytest.raises(DataError, match="customer_events holds no ad event"):
        place.run(None)


def test_a_pipeline_of_another_kind_is_refused(place: Place) -> None:
    churn = load_pipeline("churn", shipped() / "configs", [], environ={})
    with pytest.raises(UsageError, match="churn is not a pipeline of ads"):
        ads.run_ads(place.client.endpoint, churn, DAY, lambda stage, done, total: None)


@pytest.fixture
def command(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command on the place, with its exit code and output."""
    place.show(*rounds(100, "a", "b", earning=["a"], **EARLY), *rounds(100, "a", "b", earning=["a"], start=100))
    monkeypatch.setenv("RAYPIPE_URL", str(place.client.endpoint))
    monkeypatch.setenv("RAYPIPE_ARTIFACTS", str(place.artifacts))
    if place.client.endpoint.password_file:
        monkeypatch.setenv("RAYPIPE_PASSWORD_FILE", place.client.endpoint.password_file)
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--config", str(shipped() / "configs")])


def test_the_command_prints_one_document_that_scripts_can_read(place: Place, command: Callable[..., Any]) -> None:
    settings = ("--set", "model.rounds=7", "--set", "split.seed=7")
    result = command("run", "ads", "--date", "2026-01-31", "--json", *settings)
    assert result.exit_code == 0, result.stderr
    assert "--set model.rounds had no effect" in result.stderr.replace("\n", " ")
    found = json.loads(result.stdout)
    assert (found["pipeline"], found["date"], found["rows_published"]) == ("ads", "2026-01-31", 1)
    assert found["run_id"] == place.client.value("SELECT DISTINCT batch_id FROM ml_model_predictions")
    assert found["fit"]["status"] == "PRODUCTION"
    assert found["fit"]["metrics"]["test"]["snips"].keys() == {"value", "low", "high"}
    assert found["contexts"][0]["recommended"] == "a"
    assert found["contexts"][0]["arms"]["a"]["impressions"] == 200


def test_the_command_shows_people_the_policy_and_its_value(command: Callable[..., Any]) -> None:
    result = command("run", "ads")
    assert result.exit_code == 0, result.stderr
    for words in ("recommended", "policy, SNIPS", "effective", "better than the logged ads", "1 contexts published"):
        assert words in result.stdout


@pytest.mark.parametrize("name", ["fit", "score", "plan"])
def test_a_bandit_has_no_steps_to_run_one_by_one(command: Callable[..., Any], name: str) -> None:
    result = command(name, "ads")
    assert result.exit_code == 2
    assert "`raypipe run ads`" in result.stderr


def test_an_interrupted_run_is_done_again(
    place: Place, command: Callable[..., Any], broken_publish: Callable[[], PublishedPolicy]
) -> None:
    place.show(*rounds(100, "a", "b", earning=["b"], device_type_id="tablet"))
    with pytest.raises(GateRefused):
        broken_publish()
    refused = str(place.client.value("SELECT run_id FROM raypipe_runs FINAL"))
    result = command("resume", refused, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["date"], found["rows_published"]) == ("2026-01-31", 2)
    assert command("resume", found["run_id"]).exit_code == 2
