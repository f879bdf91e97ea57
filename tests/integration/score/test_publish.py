"""Test publishing on raypipe's and a publisher's tables: whole, once, and without touching other rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse import twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load, load_all
from raypipe.errors import ConfigError, DataError, GateRefused
from raypipe.loaders.save import save_predictions
from raypipe.project import shipped
from raypipe.score import prepare, publish, publish_sql, runs
from raypipe.score.manifest import PublishTarget

RAYPIPE = shipped() / "sql" / "schema"
PUBLISHER = Path(__file__).parents[2] / "publisher" / "schema.sql"
SHARED = load(shipped() / "sql" / "shared" / "predictions.sql").text
PREDICTIONS = PublishTarget("ml_model_predictions", SHARED)
# A target without a batch_id: its rows are known by version, date and time.
CHURN = PublishTarget(
    "customer_churn_predictions",
    """SELECT
    toString(reinterpretAsUUID(sipHash128({run_id:String}, {keys}))) AS prediction_id, user_id, company_id, brand_id,
    {date:Date} AS prediction_date, score AS churn_probability, {level} AS churn_risk_level,
    {model_version:String} AS model_version, sessions AS total_sessions, {run_at:DateTime} AS created_at
FROM {staging}""",
)

Make = Callable[..., Any]
EPOCH = 1


def made_by(client: Client, place: Path) -> None:
    """Makes the two targets as the files of a schema have them."""
    files = sorted(place.glob("*.sql")) if place.is_dir() else [place]
    wanted = re.compile(r"CREATE TABLE (IF NOT EXISTS )?(ml_model_predictions|customer_churn_predictions)\b")
    made = [client.run(one.text) for file in files for one in load_all(file) if wanted.match(one.text)]
    assert len(made) == 2


@pytest.fixture(params=["raypipe", "publisher"])
def schema(request: pytest.FixtureRequest, client: Client) -> str:
    """Return the kind of tables: raypipe's own, or a publisher's with monthly partitions."""
    made_by(client, RAYPIPE if request.param == "raypipe" else PUBLISHER)
    return str(request.param)


def put(run: Any, target: PublishTarget, rows: int = 10) -> str:
    """Stages the run and publishes it into one target."""
    run = run.with_manifest(targets=(target,))
    prepared = publish.prepare(run.client, run.manifest, target, run.staged(), rows, EPOCH)
    publish.swap(run.client, run.manifest, prepared)
    publish.verify(run.client, run.manifest, target, rows)
    return prepared.how


def test_a_target_has_the_rows_that_its_config_counts_in_staging(schema: str, scoring: Make) -> None:
    thrice = replace(PREDICTIONS, rows="3 * count()")
    run = scoring().with_manifest(targets=(thrice,))
    written = run.staged()
    assert publish_sql.expected(run.client, run.manifest, thrice, written, 10) == 30
    assert publish_sql.expected(run.client, run.manifest, PREDICTIONS, written, 10) == 10


def test_rows_that_the_statement_does_not_make_are_refused(schema: str, scoring: Make) -> None:
    run = scoring().with_manifest(targets=(PREDICTIONS,))
    wrong = replace(PREDICTIONS, rows="count() + 1")
    written = run.staged()
    rows = publish_sql.expected(run.client, run.manifest, wrong, written, 10)
    with pytest.raises(GateRefused, match="the rows for ml_model_predictions"):
        publish.prepare(run.client, run.manifest, wrong, written, rows, EPOCH)
    assert batches(run.client) == {}


def test_a_target_that_nothing_would_be_written_to_is_refused(schema: str, scoring: Make) -> None:
    run = scoring()
    with pytest.raises(GateRefused, match="has no rows for ml_model_predictions"):
        publish_sql.expected(run.client, run.manifest, replace(PREDICTIONS, rows="sum(0)"), run.staged(), 10)


def clock_at(moment: datetime) -> Any:
    return SimpleNamespace(now=lambda zone: moment)


def test_two_runs_of_a_pipeline_never_begin_in_the_same_second(scoring: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scoring()
    future = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    moments = [future + timedelta(seconds=n) for n in (0, 1, 3)]
    for epoch, moment in enumerate(moments, 1):
        manifest = replace(run.manifest, run_id=f"churn_{epoch}", run_at=moment)
        runs.save(run.client, runs.opened(manifest, "a test", epoch), epoch)
    # A host that is an hour ahead dates none of the others' runs.
    assert prepare.run_at(run.client, "churn") < future
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "datetime", clock_at(future))
        assert prepare.run_at(run.client, "churn") == future + timedelta(seconds=2)
        assert prepare.run_at(run.client, "another") == future


def batches(client: Client) -> dict[str, int]:
    return dict(client.rows("SELECT batch_id, count() FROM ml_model_predictions GROUP BY batch_id ORDER BY batch_id"))


def content(client: Client, table: str) -> int:
    """An order-free checksum of everything in a table."""
    return int(client.value(f"SELECT groupBitXor(cityHash64(*)) FROM {table}"))


@pytest.mark.versions
@pytest.mark.parametrize("target", [PREDICTIONS, CHURN], ids=lambda target: target.table)
def test_a_run_is_swapped_in_whole_where_partitions_are_its_own_and_moved_in_where_they_are_not(
    schema: str, scoring: Make, target: PublishTarget
) -> None:
    run = scoring()
    assert put(run, target) == ("replace" if schema == "raypipe" else "move")
    assert run.client.value(f"SELECT count() FROM {target.table}") == 10


def test_every_entity_is_published_with_its_score_class_and_run(schema: str, scoring: Make) -> None:
    run = scoring()
    put(run, PREDICTIONS)
    found = run.client.rows(
        "SELECT entity_id, round(prediction_value, 2), prediction_class, company_id, brand_id, prediction_date,"
        " predicted_at, prediction_type, model_id FROM ml_model_predictions ORDER BY entity_id"
    )
    staged = dict(run.client.rows(f"SELECT user_id, round(toFloat64(score), 2) FROM {run.manifest.staging}"))
    assert [row[0] for row in found] == [f"u{i}" for i in range(10)]
    at = datetime(2026, 2, 1, 3, 0)
    for entity, value, level, *rest in found:
        assert value == staged[entity]
        assert level == ("low" if value < 0.15 else "high")
        assert rest == ["c", "b", date(2026, 1, 31), at, "churn", "model-1"]
    assert run.client.value("SELECT uniqExact(prediction_id) FROM ml_model_predictions") == 10


@pytest.mark.parametrize("target", [PREDICTIONS, CHURN], ids=lambda target: target.table)
def test_publishing_again_changes_nothing(schema: str, scoring: Make, target: PublishTarget) -> None:
    run = scoring()
    put(run, target)
    before = content(run.client, target.table)
    written = run.client.rows(f"SELECT DISTINCT attempt FROM {run.manifest.staging}")
    run.client.run(f"DROP TABLE {run.manifest.staging}")
    assert put(run, target) == ("replace" if schema == "raypipe" else "move")
    assert content(run.client, target.table) == before
    assert run.client.value(f"SELECT count() FROM {target.table}") == 10
    assert len(written) == 2


@pytest.mark.versions
def test_a_publication_that_stopped_before_the_swap_is_finished(schema: str, scoring: Make) -> None:
    run = scoring().with_manifest(targets=(PREDICTIONS,))
    written = run.staged()
    twin = run.manifest.twin(PREDICTIONS, EPOCH)
    run.client.run(f"CREATE TABLE {twin} AS ml_model_predictions")
    run.client.run(f"INSERT INTO {twin} (batch_id) VALUES ('half')")
    publish.swap(run.client, run.manifest, publish.prepare(run.client, run.manifest, PREDICTIONS, written, 10, EPOCH))
    assert batches(run.client) == {run.manifest.run_id: 10}


@pytest.mark.versions
@pytest.mark.parametrize("target", [PREDICTIONS, CHURN], ids=lambda target: target.table)
def test_a_rerun_of_a_date_replaces_the_earlier_run(schema: str, scoring: Make, target: PublishTarget) -> None:
    first = scoring("churn_20260131_00000001")
    put(first, target)
    later = first.manifest.run_at + timedelta(hours=1)
    second = scoring("churn_20260131_00000002", run_at=later, model_version="20260201.010000.fedcba")
    put(second, target)
    old = first.manifest
    publish.remove_earlier(second.client, second.manifest, target.table, old)
    publish.verify(second.client, second.manifest, target, 10)
    assert second.client.value(f"SELECT count() FROM {target.table}") == 10
    time = "predicted_at" if target is PREDICTIONS else "created_at"
    assert second.client.rows(f"SELECT DISTINCT {time} FROM {target.table}") == [(later.replace(tzinfo=None),)]


@pytest.mark.parametrize("target", [PREDICTIONS, CHURN], ids=lambda target: target.table)
def test_another_date_stays_untouched(schema: str, scoring: Make, target: PublishTarget) -> None:
    before = scoring("churn_20260130_00000001", date=date(2026, 1, 30))
    put(before, target)
    after = scoring("churn_20260131_00000001")
    put(after, target)
    old = before.manifest
    rows = after.client.rows(f"SELECT prediction_date, count() FROM {target.table} GROUP BY 1 ORDER BY 1")
    assert rows == [(date(2026, 1, 30), 10), (date(2026, 1, 31), 10)]
    publish.verify(before.client, old, target, 10)


def test_another_prediction_type_of_the_same_date_stays_untouched(schema: str, scoring: Make) -> None:
    churn = scoring()
    put(churn, PREDICTIONS)
    put(scoring("clicks_20260131_00000001", pipeline="clicks"), PREDICTIONS)
    again = scoring("churn_20260131_00000002", run_at=churn.manifest.run_at + timedelta(hours=1))
    put(again, PREDICTIONS)
    old = churn.manifest
    publish.remove_earlier(again.client, again.manifest, PREDICTIONS.table, old)
    assert batches(churn.client) == {"churn_20260131_00000002": 10, "clicks_20260131_00000001": 10}


def test_rows_of_others_in_the_same_month_stay_untouched(schema: str, scoring: Make, client: Client) -> None:
    client.run(
        "INSERT INTO ml_model_predictions (batch_id, prediction_type, prediction_date, predicted_at, created_at)"
        " VALUES ('theirs', 'churn', '2026-01-15', '2026-02-01 03:00:00', now())"
    )
    put(scoring(), PREDICTIONS)
    assert batches(client) == {"churn_20260131_00000001": 10, "theirs": 1}


def test_rows_with_null_in_place_of_a_batch_id_belong_to_others(client: Client, scoring: Make) -> None:
    client.run(
        "CREATE TABLE t (batch_id Nullable(String), prediction_date Date)"
        " ENGINE = MergeTree PARTITION BY prediction_date ORDER BY ()"
    )
    run = scoring()
    client.run("INSERT INTO t SELECT NULL, {day:Date}", {"day": run.manifest.date})
    sql = "SELECT {run_id:String} AS batch_id, {date:Date} AS prediction_date FROM {staging}"
    assert put(run, PublishTarget("t", sql)) == "move"
    assert client.rows("SELECT batch_id, count() FROM t GROUP BY 1 ORDER BY 1") == [
        (run.manifest.run_id, 10),
        (None, 1),
    ]


def test_only_the_attempts_of_the_receipts_are_published(schema: str, scoring: Make) -> None:
    run = scoring()
    run.stage(0, attempt=99)
    put(run, PREDICTIONS)
    assert batches(run.client) == {run.manifest.run_id: 10}


def test_keep_one_publishes_the_highest_score_of_an_entity_that_stands_twice(
    schema: str, scoring: Make, client: Client
) -> None:
    client.run("INSERT INTO people VALUES ('2026-01-31', 'c', 'b', 'u3', 77)")
    run = scoring(duplicates="keep_one")
    put(run, PREDICTIONS)
    highest = client.value(f"SELECT toFloat64(max(score)) FROM {run.manifest.staging} WHERE user_id = 'u3'")
    found = client.rows("SELECT entity_id, prediction_value FROM ml_model_predictions WHERE entity_id = 'u3'")
    assert found == [("u3", highest)]


BROKEN = {
    "an unknown column": (SHARED.replace("AS metadata", "AS metadatum"), ConfigError, "metadatum"),
    "no run": (SHARED.replace("{run_id:String} AS batch_id", "'' AS batch_id"), GateRefused, "0 rows"),
    "no date": (
        SHARED.replace("{date:Date} AS prediction_date", "toDate(0) AS prediction_date"),
        GateRefused,
        "0 rows",
    ),
    "another time": (SHARED.replace("{run_at:DateTime} AS created_at", "now() AS created_at"), GateRefused, "0 rows"),
    "fewer rows": (SHARED + " WHERE user_id != 'u3'", GateRefused, "9 rows"),
    "more rows": (SHARED + " ARRAY JOIN [1, 2] AS twice", GateRefused, "20 rows"),
    "rows of others": (
        SHARED + " UNION ALL " + SHARED.replace("{run_id:String} AS batch_id", "'theirs' AS batch_id"),
        GateRefused,
        "10 rows with the run's mark",
    ),
    "a hole": (SHARED + " WHERE {nothing}", ConfigError, "nothing"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_wrong_publish_statement_is_refused_and_the_target_stays_as_it_was(
    schema: str, scoring: Make, mistake: str
) -> None:
    earlier = scoring("churn_20260131_00000001")
    put(earlier, PREDICTIONS)
    before = content(earlier.client, "ml_model_predictions")
    sql, error, text = BROKEN[mistake]
    assert sql != SHARED
    run = scoring("churn_20260131_00000002", run_at=earlier.manifest.run_at + timedelta(hours=1))
    with pytest.raises(error) as refused:
        put(run, PublishTarget("ml_model_predictions", sql))
    assert text in str(refused.value)
    assert content(run.client, "ml_model_predictions") == before


def test_rows_that_fall_into_several_partitions_are_refused(client: Client, scoring: Make) -> None:
    client.run("CREATE TABLE t (batch_id String, month UInt8) ENGINE = MergeTree PARTITION BY month ORDER BY tuple()")
    target = PublishTarget("t", "SELECT {run_id:String} AS batch_id, sessions % 2 AS month FROM {staging}")
    with pytest.raises(DataError, match="several of its partitions"):
        put(scoring(), target)
    assert client.value("SELECT count() FROM t") == 0


@pytest.mark.parametrize(
    ("definition", "match"),
    [
        ("(batch_id String) ENGINE = Memory", "cannot be swapped"),
        ("(score Float32, created_at DateTime) ENGINE = MergeTree ORDER BY ()", "tell the rows of two runs apart"),
    ],
)
def test_a_target_that_cannot_be_published_into_exactly_once_is_refused(
    client: Client, scoring: Make, definition: str, match: str
) -> None:
    client.run(f"CREATE TABLE t {definition}")
    with pytest.raises(ConfigError, match=match):
        put(scoring(), PublishTarget("t", "SELECT {run_id:String} AS batch_id FROM {staging}"))


def test_a_target_that_does_not_exist_is_named(client: Client, scoring: Make) -> None:
    run = scoring()
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        twins.require_swappable(run.client, "nowhere")


def test_rows_that_vanished_after_the_swap_are_not_committed(schema: str, scoring: Make) -> None:
    run = scoring()
    put(run, PREDICTIONS)
    run.client.run("DELETE FROM ml_model_predictions WHERE entity_id = 'u3'")
    with pytest.raises(GateRefused, match="not committed"):
        publish.verify(run.client, run.manifest, PREDICTIONS, 10)


def test_rows_that_are_doubled_after_the_swap_are_not_committed(schema: str, scoring: Make) -> None:
    run = scoring()
    put(run, PREDICTIONS)
    run.client.run("INSERT INTO ml_model_predictions SELECT * FROM ml_model_predictions LIMIT 1")
    with pytest.raises(GateRefused, match="not committed") as refused:
        publish.verify(run.client, run.manifest, PREDICTIONS, 10)
    assert refused.value.found == "11 rows"


def test_a_target_in_another_database_is_published_into(schema: str, scoring: Make) -> None:
    run = scoring()
    target = replace(PREDICTIONS, table=f"{run.client.endpoint.database}.ml_model_predictions")
    put(run, target)
    assert batches(run.client) == {run.manifest.run_id: 10}


def test_an_instant_is_published_as_it_is_in_utc(schema: str, scoring: Make) -> None:
    at = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    run = scoring(run_at=at)
    put(run, PREDICTIONS)
    assert run.client.rows("SELECT DISTINCT toUnixTimestamp(predicted_at) FROM ml_model_predictions") == [
        (int(at.timestamp()),)
    ]


def test_a_rerun_with_another_version_replaces_the_run_where_each_version_has_a_partition(
    client: Client, scoring: Make
) -> None:
    client.run(
        "CREATE TABLE t (batch_id String, model_version String, prediction_date Date)"
        " ENGINE = MergeTree PARTITION BY (prediction_date, model_version) ORDER BY ()"
    )
    sql = "SELECT {run_id:String} AS batch_id, {model_version:String} AS model_version, {date:Date} AS prediction_date"
    target = PublishTarget("t", f"{sql} FROM {{staging}}")
    first, second = scoring("churn_1", model_version="1"), scoring("churn_2", model_version="2")
    put(first, target)
    put(second, target)
    old = first.manifest
    publish.remove_earlier(client, second.manifest, target.table, old)
    assert client.rows("SELECT batch_id, count() FROM t GROUP BY 1") == [("churn_2", 10)]


def test_an_earlier_run_that_cannot_be_told_from_this_one_costs_it_no_rows(schema: str, scoring: Make) -> None:
    run = scoring()
    put(run, CHURN)
    own = run.manifest
    publish.remove_earlier(run.client, own, CHURN.table, replace(own, run_id="churn_of_the_same_second"))
    publish.verify(run.client, own, CHURN, 10)


def test_a_swap_by_the_date_alone_is_not_made_where_several_kinds_of_prediction_share_it(
    client: Client, scoring: Make
) -> None:
    client.run(
        "CREATE TABLE t (batch_id String, prediction_type String, prediction_date Date, entity_id String)"
        " ENGINE = MergeTree PARTITION BY prediction_date ORDER BY entity_id"
    )
    sql = (
        "SELECT {run_id:String} AS batch_id, {pipeline:String} AS prediction_type, {date:Date} AS prediction_date,"
        " {entity_id} AS entity_id FROM {staging}"
    )
    for pipeline in ("churn", "clicks"):
        put(scoring(f"{pipeline}_1", pipeline=pipeline), PublishTarget("t", sql))
    assert client.rows("SELECT prediction_type, count() FROM t GROUP BY 1 ORDER BY 1") == [
        ("churn", 10),
        ("clicks", 10),
    ]


def second_pipeline(scoring: Make, **changes: Any) -> Any:
    """A run of churn_b2b, which publishes into the table of churn."""
    return scoring("churn_b2b_20260131_00000001", pipeline="churn_b2b", model_version="b2b", **changes)


def recorded(run: Any, status: str, epoch: int = EPOCH, **changes: Any) -> Any:
    """The run, with its row in raypipe_runs."""
    return runs.save(run.client, runs.opened(run.manifest, "a test", epoch), epoch, status=status, **changes)


def versions(client: Client) -> dict[str, int]:
    sql = "SELECT model_version, count() FROM customer_churn_predictions GROUP BY 1 ORDER BY 1"
    return dict(client.rows(sql))


def test_two_pipelines_publish_into_one_table_and_each_replaces_only_itself(schema: str, scoring: Make) -> None:
    first = scoring(model_version="1")
    put(first, CHURN)
    recorded(first, runs.PUBLISHED)
    other = second_pipeline(scoring)
    assert put(other, CHURN) == "move"
    recorded(other, runs.PUBLISHED)
    assert versions(first.client) == {"1": 10, "b2b": 10}
    again = scoring("churn_20260131_00000002", run_at=first.manifest.run_at + timedelta(hours=1), model_version="2")
    assert put(again, CHURN) == "move"
    old = first.manifest
    publish.remove_earlier(again.client, again.manifest, CHURN.table, old)
    assert versions(first.client) == {"2": 10, "b2b": 10}
    # A resume replaces what it moved in, and nothing beside it.
    assert [put(run, CHURN) for run in (again, other)] == ["move", "move"]
    assert versions(first.client) == {"2": 10, "b2b": 10}


def test_a_run_replaces_whatever_runs_of_its_own_left_behind(client: Client, scoring: Make) -> None:
    made_by(client, RAYPIPE)
    for number, status in enumerate((runs.SUPERSEDED, runs.FAILED, runs.PUBLISHED)):
        run = scoring(f"churn_{number}", run_at=datetime(2026, 2, 1, 3, number, tzinfo=UTC), model_version=str(number))
        put(run, CHURN)
        recorded(run, status)
    last = scoring("churn_9", run_at=datetime(2026, 2, 1, 4, tzinfo=UTC), model_version="9")
    assert put(last, CHURN) == "replace"
    assert versions(client) == {"9": 10}


def test_a_pipeline_at_work_on_a_shared_table_is_not_replaced_before_its_rows_are_there(
    client: Client, scoring: Make
) -> None:
    made_by(client, RAYPIPE)
    other = second_pipeline(scoring)
    other = other.with_manifest(targets=(replace(CHURN, table=f"{client.endpoint.database}.{CHURN.table}"),))
    begun = recorded(other, runs.RUNNING)
    run = scoring()
    assert put(run, CHURN) == "move"
    client.run(f"TRUNCATE TABLE {CHURN.table}")
    runs.save(client, begun, EPOCH, status=runs.FAILED)
    assert put(run, CHURN) == "replace"


def test_rows_that_come_between_the_look_and_the_swap_are_not_replaced(client: Client, scoring: Make) -> None:
    made_by(client, RAYPIPE)
    run = scoring().with_manifest(targets=(CHURN,))
    prepared = publish.prepare(client, run.manifest, CHURN, run.staged(), 10, EPOCH)
    assert prepared.how == "replace"
    put(second_pipeline(scoring), CHURN)
    publish.swap(client, run.manifest, prepared)
    assert versions(client) == {run.manifest.model_version: 10, "b2b": 10}


def test_rows_that_stand_already_are_moved_in_beside_others_once(client: Client, scoring: Make) -> None:
    made_by(client, RAYPIPE)
    run = scoring().with_manifest(targets=(CHURN, PREDICTIONS))
    put(run, CHURN)
    written = run.staged()
    prepared = [publish.prepare(client, run.manifest, target, written, 10, EPOCH) for target in (CHURN, PREDICTIONS)]
    assert [item.how for item in prepared] == ["replace", "replace"]
    put(second_pipeline(scoring), CHURN)
    saved_by_hand(client)
    for item in prepared:
        publish.swap(client, run.manifest, item)
    assert versions(client) == {run.manifest.model_version: 10, "b2b": 10}
    assert sorted(batches(client).values()) == [1, 10]


def saved_by_hand(client: Client) -> str:
    """A batch of churn predictions of the runs' date that no pipeline made."""
    users = {"company_id": ["c"], "brand_id": ["b"], "entity_id": ["by hand"], "prediction_probability": [0.5]}
    return save_predictions(client, pa.table(users), "m1", "churn", date(2026, 1, 31))


def test_predictions_saved_by_hand_stay_and_a_reader_of_the_view_never_sees_two_runs(
    client: Client, scoring: Make
) -> None:
    migrate(client)
    first = scoring()
    began = recorded(first, runs.PUBLISHING)
    assert put(first, PREDICTIONS) == "replace"
    runs.commit(client, began, EPOCH)
    batch = saved_by_hand(client)
    second = scoring("churn_20260131_00000002", run_at=first.manifest.run_at + timedelta(hours=1))
    began = recorded(second, runs.PUBLISHING, EPOCH + 1)
    assert current(client) == {first.manifest.run_id: 10}
    assert put(second, PREDICTIONS) == "move"
    assert current(client) == {first.manifest.run_id: 10}
    runs.commit(client, began, EPOCH + 1)
    # Both are in the table still: what follows, or a run that died here, does not show.
    assert batches(client) == {first.manifest.run_id: 10, second.manifest.run_id: 10, batch: 1}
    assert current(client) == {second.manifest.run_id: 10}
    old = first.manifest
    publish.remove_earlier(client, second.manifest, PREDICTIONS.table, old)
    assert batches(client) == {second.manifest.run_id: 10, batch: 1}


def current(client: Client) -> dict[str, int]:
    """Return the view's rows by run."""
    return dict(client.rows("SELECT batch_id, count() FROM raypipe_current_predictions GROUP BY 1 ORDER BY 1"))
