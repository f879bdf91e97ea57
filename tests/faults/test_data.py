"""Test faults of data: changed columns, NULL, double and byte keys, non-finite numbers, days at the edge."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from raypipe.artifact import files
from raypipe.artifact.contract import MATRIX, Contract, FrozenFeature, matrix
from raypipe.artifact.package import Package, load_package, pack
from raypipe.clickhouse import inserts
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import literal
from raypipe.data.slices import Slice, unsliced
from raypipe.errors import ConfigError, DataError, GateRefused, RaypipeError, ServerError, UsageError
from raypipe.registry import aliases, models
from raypipe.score import gate, ledger, prepare, publish_sql, runs, worker
from raypipe.score.gate import GateCounts
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from tests.conftest import FittedPublisher
from tests.factories import model_record
from tests.faults.nights import DAY, KEYS, SOURCE, TARGETS, Night, before_reading, key, of, own_night, remove, row
from tests.faults.oracle import assert_exact, loaded, own_tables

ACTIVE = f"SELECT * FROM {SOURCE} WHERE feature_date = {{day:Date}} AND active_last_30_days = 1"
SCORES = f"SELECT {KEYS.replace('user_id', 'entity_id')}, prediction_value FROM {TARGETS[1]} ORDER BY 1, 2, 3"


@pytest.fixture
def night(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    with own_night(fitted_publisher) as made:
        yield made


def alter(night: Night, *changes: str) -> None:
    for change in changes:
        night.client.run(f"ALTER TABLE {SOURCE} {change}", settings={"mutations_sync": 2})


def users(night: Night, count: int) -> list[tuple[str, str, str]]:
    """Return some active users of the day."""
    sql = f"SELECT {KEYS} FROM ({ACTIVE}) ORDER BY cityHash64(user_id) LIMIT {count}"
    return [tuple(row) for row in night.client.rows(sql, {"day": DAY})]


def set_value(night: Night, user: tuple[str, str, str], column: str, value: str) -> None:
    alter(night, f"UPDATE {column} = {value} WHERE {of(user)}")


def model_of(night: Night) -> Package:
    found = models.find(night.client, "churn", "champion")
    return load_package(found.artifact_uri, found.artifact_sha256, night.client)


def row_of(night: Night, user: tuple[str, str, str]) -> Any:
    """Return a user's row of the feature matrix by the contract."""
    manifest = night.plan()
    where = f"({KEYS}) = ({', '.join(literal(part) for part in user)})"
    table = night.client.table(
        f"SELECT {MATRIX} FROM (\n{unsliced(manifest.select)}\n) WHERE {where}", manifest.select_parameters
    )
    assert table.num_rows == 1
    return matrix(table.column(MATRIX))


def published(night: Night, user: tuple[str, str, str]) -> float:
    condition = " AND ".join(
        f"{name} = {literal(part)}" for name, part in zip(("company_id", "brand_id", "entity_id"), user, strict=True)
    )
    return float(night.client.value(f"SELECT prediction_value FROM {TARGETS[1]} WHERE {condition}"))


def promote(night: Night, content: Mapping[str, bytes], contract: Contract, folder: Path) -> None:
    """Make an artifact the champion."""
    stored, at = files.save(str(folder), content), datetime.now(UTC)
    record = model_record("29990101.000000.abcdef", at, stored, contract.sha256)
    aliases.move(night.client, "churn", {aliases.CHAMPION: models.register(night.client, record, at)}, "", "a test", at)


def golden_rows(package: Package) -> Any:
    return np.zeros((3, len(package.contract.columns)), np.float32)


GONE = ["DROP COLUMN avg_searches", "RENAME COLUMN avg_searches TO avg_searched"]


@pytest.mark.parametrize("change", GONE, ids=["gone", "renamed"])
def test_a_column_that_is_gone_is_named_before_anything_is_scored(night: Night, change: str) -> None:
    before = night.content()
    alter(night, change)
    with pytest.raises(ConfigError, match="avg_searches"):
        night.plan()
    assert night.content() == before
    assert own_tables(night.client) == []


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (GONE[0], "ADD COLUMN avg_searches Float32 AFTER avg_video_plays"),
        (GONE[1], "RENAME COLUMN avg_searched TO avg_searches"),
    ],
    ids=["gone", "renamed"],
)
def test_a_column_that_goes_after_the_plan_fails_the_run_and_a_new_run_publishes(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: str, back: str
) -> None:
    before, manifest = night.content(), night.plan()
    before_reading(monkeypatch, lambda: alter(night, change))
    with pytest.raises(ServerError):
        night.run(manifest)
    assert night.content() == before
    assert night.status(manifest) == runs.FAILED
    alter(night, back)
    # The rows that were read before and the rows to come are no longer those of one state.
    with pytest.raises(GateRefused, match="the source changed while"):
        night.resume(manifest)
    night.assert_exact(night.score())


WIDER = "MODIFY COLUMN days_active UInt64"


def test_a_column_that_became_wider_is_refused_with_both_types(night: Night) -> None:
    before = night.content()
    alter(night, WIDER)
    with pytest.raises(DataError, match="days_active: UInt64 instead of UInt16"):
        night.plan()
    assert night.content() == before
    assert own_tables(night.client) == []


def test_without_the_contract_a_column_of_another_type_is_scored_in_silence(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.score()
    before = night.client.rows(SCORES)
    alter(night, "DROP COLUMN days_active", "ADD COLUMN days_active UInt64 DEFAULT 40000")
    monkeypatch.setattr(Contract, "check", lambda *_: None)
    night.score()
    assert night.client.rows(SCORES) != before


REORDERED = "MODIFY COLUMN avg_searches Float32 FIRST"
ADDED = "ADD COLUMN another String DEFAULT 'x' FIRST"


@pytest.mark.parametrize("change", [REORDERED, ADDED], ids=["reordered", "added"])
def test_columns_in_another_order_or_beside_those_fitted_change_no_score(night: Night, change: str) -> None:
    night.score()
    before = night.client.rows(SCORES)
    alter(night, change)
    night.assert_exact(night.score())
    assert night.client.rows(SCORES) == before


def test_without_the_order_of_the_contract_the_scores_are_others(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.score()
    before = night.client.rows(SCORES)

    def by_name(self: Contract) -> str:
        found = sorted(self.features, key=lambda feature: feature.name)
        return f"[{', '.join(text for feature in found for text in feature.expressions())}]"

    monkeypatch.setattr(Contract, "matrix_expression", by_name)
    night.score()
    assert night.client.rows(SCORES) != before


def without_key(night: Night, folder: Path) -> None:
    """Provide a source with a nullable user_id and one NULL in it, and a model fitted on such a source."""
    ddl = str(night.client.value(f"SHOW CREATE TABLE {SOURCE}")).replace(
        "`user_id` String", "`user_id` Nullable(String)"
    )
    night.client.run(f"RENAME TABLE {SOURCE} TO strictly")
    night.client.run(f"{ddl}, allow_nullable_key = 1")
    night.client.run(f"INSERT INTO {SOURCE} SELECT * FROM strictly")
    night.client.run("DROP TABLE strictly SYNC")
    night.client.run(f"INSERT INTO {SOURCE} SELECT * REPLACE (NULL AS user_id) FROM ({row(key(night, 'first'))})")
    package = model_of(night)
    types = ("String", "String", "Nullable(String)")
    changed = replace(package, contract=replace(package.contract, key_types=types))
    promote(night, pack(changed, golden_rows(package), {}), changed.contract, folder)


def test_a_key_that_may_be_null_by_now_is_refused_with_its_type(night: Night, tmp_path: Path) -> None:
    before = night.plan()
    without_key(night, tmp_path)
    fitted = models.find(night.client, "churn", before.model_version)
    aliases.move(night.client, "churn", {aliases.CHAMPION: fitted}, "", "a test", datetime.now(UTC))
    with pytest.raises(DataError, match=r"user_id: Nullable\(String\) instead of String"):
        night.plan()


def test_a_row_without_a_key_is_set_aside_with_its_reason(night: Night, tmp_path: Path) -> None:
    without_key(night, tmp_path)
    manifest = night.plan()
    run_id = night.run(manifest)
    rejected = night.client.rows("SELECT run_id, reason, entity FROM raypipe_counted_rejections")
    assert [row[:2] for row in rejected] == [(run_id, "NULL in the key (user_id)")]
    assert json.loads(rejected[0][2])["user_id"] is None
    assert runs.find(night.client, run_id).rows_rejected == 1
    night.client.run(f"DELETE FROM {SOURCE} WHERE user_id IS NULL")
    night.assert_exact(run_id)


def test_without_looking_at_the_key_a_row_is_published_for_nobody(
    night: Night, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_key(night, tmp_path)
    monkeypatch.setattr(worker, "_keyed", lambda batch, _: np.ones(batch.num_rows, dtype=bool))
    try:
        run_id = night.score()
    except RaypipeError:
        # The target itself refuses a NULL that its defaults do not replace.
        return
    night.client.run(f"DELETE FROM {SOURCE} WHERE user_id IS NULL")
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


def double(night: Night) -> tuple[str, str, str]:
    """Add a second row of a user with other features. Slices still cut the table."""
    user = key(night, "first")
    changed = "days_since_last_session + 15 AS days_since_last_session, 1 AS total_sessions"
    night.client.run(f"INSERT INTO {SOURCE} SELECT * REPLACE ({changed}) FROM ({row(user)})")
    return user


def test_a_user_who_stands_twice_is_refused_by_name(night: Night) -> None:
    before = night.content()
    user = double(night)
    with pytest.raises(GateRefused, match="more than once") as refused:
        night.score()
    assert user[2] in str(refused.value)
    assert night.content() == before


def test_a_user_who_stands_twice_is_published_once_with_the_higher_score_where_one_is_kept(night: Night) -> None:
    user = double(night)
    table = night.client.table(
        f"SELECT {MATRIX} FROM (\n{unsliced(night.plan().select)}\n) WHERE user_id = {literal(user[2])}"
        f" AND brand_id = {literal(user[1])}",
        {"date": DAY},
    )
    assert table.num_rows == 2
    scores = model_of(night).model.predict(matrix(table.column(MATRIX)))
    run_id = night.score("score.duplicates=keep_one")
    assert published(night, user) == pytest.approx(float(scores.max()), abs=1e-6)
    night.client.run(f"DELETE FROM {SOURCE} WHERE {of(user)} AND total_sessions = 1")
    night.assert_exact(run_id)


def test_without_counting_keys_a_user_who_stands_twice_is_published_twice(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    double(night)

    def all_rows(client: Client, manifest: Manifest, written: list[Receipt], alone: bool) -> int:
        return sum(receipt.rows_staged for receipt in written)

    monkeypatch.setattr(gate, "_distinct", all_rows)
    run_id = night.score()
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, run_id)


NO_NUMBERS = ["nan", "inf", "-inf"]


@pytest.mark.fast
def test_features_that_are_no_number_count_as_missing(night: Night) -> None:
    expected = {}
    for user, value in zip(users(night, 3), NO_NUMBERS, strict=True):
        package, row = model_of(night), row_of(night, user)
        row = row.copy()
        row[0, package.contract.columns.index("avg_events_per_session")] = np.nan
        expected[user] = float(package.model.predict(row)[0])
        set_value(night, user, "avg_events_per_session", value)
    night.assert_exact(night.score())
    for user, score in expected.items():
        assert published(night, user) == pytest.approx(score, abs=1e-6)


def test_without_taking_infinities_out_one_of_them_fails_the_run(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    set_value(night, users(night, 1)[0], "avg_events_per_session", "inf")
    real = FrozenFeature._unusable

    def unusable(self: FrozenFeature, column: str) -> str:
        return re.sub(r"( OR )?NOT isFinite\(.*\)$", "", real(self, column))

    monkeypatch.setattr(FrozenFeature, "_unusable", unusable)
    before = night.content()
    with pytest.raises(ValueError, match="inf"):
        night.score("score.explain.rows=5000")
    assert night.content() == before


@dataclass
class Odd:
    """The model with fixed scores for rows with a certain feature value."""

    model: Any
    column: int
    scores: Mapping[float, float]

    def predict(self, x: Any) -> Any:
        found = self.model.predict(x)
        for value, score in self.scores.items():
            found = np.where(x[:, self.column] == np.float32(value), np.float32(score), found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


MARKS = {77777.0: np.nan, 77778.0: np.inf, 77779.0: -np.inf}


def odd_scores(night: Night, patch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Make the model return NaN, inf and -inf for three users."""
    chosen = users(night, 3)
    for user, value in zip(chosen, MARKS, strict=True):
        set_value(night, user, "avg_searches", str(value))
    real = worker.load_package

    def load(uri: str, sha256: str, client: Client, **options: bool) -> Package:
        package = real(uri, sha256, client, **options)
        column = package.contract.columns.index("avg_searches")
        return replace(package, model=Odd(package.model, column, MARKS))

    patch.setattr(worker, "load_package", load)
    return chosen


def test_scores_that_are_no_number_are_set_aside_with_their_reasons(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = odd_scores(night, monkeypatch)
    run_id = night.score("score.max_rejected=0.01")
    rejected = night.client.rows("SELECT entity, reason, value FROM raypipe_counted_rejections")
    assert {(json.loads(entity)["user_id"], value) for entity, _, value in rejected} == {
        (user[2], value) for user, value in zip(chosen, NO_NUMBERS, strict=True)
    }
    assert {reason for _, reason, _ in rejected} == {"the score is not a finite number"}
    assert runs.find(night.client, run_id).rows_rejected == 3
    for user in chosen:
        remove(night, user)
    night.assert_exact(run_id)


def test_more_scores_that_are_no_number_than_allowed_are_refused(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    before = night.content()
    odd_scores(night, monkeypatch)
    with pytest.raises(GateRefused, match="too many rows could not be scored") as refused:
        night.score()
    (_, query) = str(refused.value).split("read the reasons: ")
    assert night.client.rows(query)
    assert night.content() == before


def test_without_a_limit_a_run_with_rows_missing_is_published(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    odd_scores(night, monkeypatch)
    monkeypatch.setattr(gate, "check_rejected", lambda *_: None)
    run_id = night.score()
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


class _Numpy:
    """NumPy without non-finite numbers."""

    @staticmethod
    def isfinite(values: Any) -> Any:
        return np.ones(len(values), dtype=bool)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def test_without_looking_at_the_scores_one_that_is_no_number_is_published(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_scores(night, monkeypatch)
    monkeypatch.setattr(worker, "np", _Numpy())
    night.score()
    assert night.client.value(f"SELECT countIf(NOT isFinite(prediction_value)) FROM {TARGETS[1]}") == 3


UNSEEN = {"current_subscription_tier": "onehot", "preferred_os_id": "ordinal"}


@pytest.mark.parametrize("column", UNSEEN)
def test_a_category_that_no_fit_has_seen_counts_as_missing(night: Night, column: str) -> None:
    (user,) = users(night, 1)
    package, row = model_of(night), row_of(night, user).copy()
    for position, name in enumerate(package.contract.columns):
        if name.split("=")[0] == column:
            row[0, position] = np.nan
    set_value(night, user, column, "'never seen; it''s new'")
    assert np.array_equal(row_of(night, user), row, equal_nan=True)
    night.assert_exact(night.score())
    assert published(night, user) == pytest.approx(float(package.model.predict(row)[0]), abs=1e-6)


@pytest.mark.parametrize("column", UNSEEN)
def test_without_a_place_for_unseen_categories_they_become_a_known_one(
    night: Night, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    (user,) = users(night, 1)
    set_value(night, user, column, "'never seen'")
    missing = row_of(night, user)
    real = FrozenFeature._known
    monkeypatch.setattr(FrozenFeature, "_known", lambda self, text, _: real(self, text, "toFloat32(0)"))
    assert not np.array_equal(row_of(night, user), missing, equal_nan=True)


def empty_a_slice(night: Night) -> tuple[Manifest, Slice]:
    """Plan a run with a middle slice without active users."""
    slicing = night.plan().slicing
    piece = slicing.slices[len(slicing.slices) // 2]
    predicate, values = slicing.predicate(piece), slicing.parameters(piece)
    night.client.run(
        f"ALTER TABLE {SOURCE} UPDATE active_last_30_days = 0 WHERE {predicate}", values, {"mutations_sync": 2}
    )
    manifest = night.plan()
    assert piece in manifest.slicing.slices
    return manifest, piece


def test_a_slice_without_a_row_is_done_with_nothing(night: Night) -> None:
    manifest, piece = empty_a_slice(night)
    run_id = night.run(manifest)
    receipts = {receipt.slice: receipt for receipt in ledger.receipts(night.client, run_id)}
    assert (receipts[piece.index].rows_read, receipts[piece.index].chunks) == (0, 0)
    assert sum(receipt.rows_read == 0 for receipt in receipts.values()) == 1
    night.assert_exact(run_id)


def test_without_taking_nothing_for_an_answer_a_slice_without_a_row_is_refused(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, _ = empty_a_slice(night)
    before, real = night.content(), ledger.confirms
    monkeypatch.setattr(ledger, "confirms", lambda found, receipt: found is not None and real(found, receipt))
    with pytest.raises(GateRefused, match="staging and ledger disagree"):
        night.run(manifest)
    assert night.content() == before


def vanish(night: Night) -> None:
    night.client.run(f"TRUNCATE TABLE {SOURCE}")


def test_a_population_that_vanishes_after_the_plan_leaves_the_target_as_it_was(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.score()
    before, manifest = night.content(), night.plan()
    before_reading(monkeypatch, lambda: vanish(night))
    with pytest.raises(GateRefused, match="source changed"):
        night.run(manifest)
    assert night.content() == before


def test_without_the_gate_a_vanished_population_has_nothing_to_swap_in(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.score()
    before, manifest = night.content(), night.plan()
    before_reading(monkeypatch, lambda: vanish(night))
    monkeypatch.setattr(gate, "check", lambda *_: GateCounts(0, 0))
    with pytest.raises(RaypipeError):
        night.run(manifest)
    assert night.content() == before


LATE = date(2026, 3, 29)
OUT_OF_RANGE = 321


def add_snapshot(night: Night, day: date) -> None:
    night.client.run(f"INSERT INTO {SOURCE} SELECT * REPLACE ({literal(day)} AS feature_date) FROM {SOURCE}")


def test_a_snapshot_that_is_late_is_refused_with_those_there_are_and_scored_once_it_came(night: Night) -> None:
    before = night.content()
    with pytest.raises(UsageError, match="no snapshot of this date") as refused:
        night.plan(day=LATE)
    assert refused.value.exit_code == 2
    assert DAY.isoformat() in str(refused.value)
    assert night.content() == before
    add_snapshot(night, LATE)
    night.assert_exact(night.score(day=LATE), LATE)


def test_without_looking_for_the_snapshot_its_population_is_empty_and_refused_as_that(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.split, "resolve_date", lambda found, wanted, table: wanted)
    with pytest.raises(GateRefused, match="is empty"):
        night.plan(day=LATE)
    assert loaded(night.publisher).config.source.date_column == "feature_date"


@pytest.mark.parametrize("day", [date(1960, 1, 1), date(2150, 1, 1)], ids=str)
def test_a_day_that_no_column_can_hold_is_refused_at_once(night: Night, day: date) -> None:
    before, manifest = night.content(), replace(night.plan(), date=day)
    with pytest.raises(DataError, match="A date does not fit into the column") as refused:
        night.run(manifest)
    assert day.isoformat() in str(refused.value)
    assert night.content() == before
    assert own_tables(night.client) == []


@pytest.mark.parametrize("day", [date(1960, 1, 1), date(2150, 1, 1)], ids=str)
def test_without_that_check_a_server_that_does_not_refuse_it_publishes_another_day(
    night: Night, monkeypatch: pytest.MonkeyPatch, day: date
) -> None:
    manifest = replace(night.plan(), date=day)
    monkeypatch.setattr(inserts, "require_ranges", lambda *_: None)
    try:
        night.run(manifest)
    except ServerError as refused:
        if refused.code != OUT_OF_RANGE:
            raise
        # Newer servers check this themselves.
        return
    found = [row[0] for row in night.client.rows(f"SELECT DISTINCT prediction_date FROM {TARGETS[1]}")]
    assert len(found) == 1
    assert found != [day]


NEW_YORK, HELSINKI = "America/New_York", "Europe/Helsinki"
INSTANTS = [
    (NEW_YORK, datetime(2026, 3, 29, 0, 0, 0, tzinfo=UTC)),
    (NEW_YORK, datetime(2026, 3, 28, 23, 59, 59, tzinfo=UTC)),
    # The same local time in New York, one hour apart.
    (NEW_YORK, datetime(2025, 11, 2, 5, 30, 0, tzinfo=UTC)),
    (NEW_YORK, datetime(2025, 11, 2, 6, 30, 0, tzinfo=UTC)),
    # Before and after the hour that Helsinki skips.
    (HELSINKI, datetime(2026, 3, 29, 0, 30, 0, tzinfo=UTC)),
    (HELSINKI, datetime(2026, 3, 29, 1, 30, 0, tzinfo=UTC)),
]


def live_in(patch: pytest.MonkeyPatch, zone: str, known: bool) -> None:
    """Put every session into a time zone. With `known`, the server announces it at login, as for a user's profile."""
    real = Client.__init__

    def make(self: Client, endpoint: Endpoint, settings: Any = None) -> None:
        real(self, endpoint, {**(settings or {}), "session_timezone": zone})
        if known:
            self._driver.server_tz = ZoneInfo(zone)  # type: ignore[attr-defined]

    patch.setattr(Client, "__init__", make)


def days_and_instants(night: Night) -> set[tuple[Any, ...]]:
    found = set()
    for table, column in ((TARGETS[0], "created_at"), (TARGETS[1], "predicted_at"), (TARGETS[1], "created_at")):
        sql = f"SELECT DISTINCT toString(prediction_date), toUnixTimestamp({column}) FROM {table}"
        found.update(night.client.rows(sql))
    return found


@pytest.mark.parametrize("known", [False, True], ids=["session", "profile"])
@pytest.mark.parametrize(("zone", "at"), INSTANTS, ids=str)
def test_day_and_instant_are_exact_in_another_time_zone(
    night: Night, monkeypatch: pytest.MonkeyPatch, zone: str, at: datetime, known: bool
) -> None:
    add_snapshot(night, LATE)
    live_in(monkeypatch, zone, known)
    run_id = night.run(replace(night.plan(day=LATE), run_at=at))
    assert days_and_instants(night) == {(LATE.isoformat(), at.timestamp())}
    night.assert_exact(run_id, LATE)


def test_without_an_instant_that_says_its_zone_the_published_one_is_hours_away(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone, at = INSTANTS[0]
    live_in(monkeypatch, zone, known=False)
    manifest, real = replace(night.plan(), run_at=at), publish_sql.bound

    def bound(manifest: Manifest, written: list[Receipt]) -> dict[str, Any]:
        return {**real(manifest, written), "run_at": f"{manifest.run_at:%Y-%m-%d %H:%M:%S}"}

    monkeypatch.setattr(publish_sql, "bound", bound)
    try:
        night.run(manifest)
    except GateRefused:
        # The rows lack the mark of their run.
        return
    assert days_and_instants(night) != {(DAY.isoformat(), at.timestamp())}


ODD_BYTES = b"\xff\xfe\x00'\\`\x80;%s{slice}\n"


def poison(night: Night, changes: str = "") -> None:
    """Add a user with an id that is not valid text."""
    odd = f"unhex('{ODD_BYTES.hex()}') AS user_id{changes}"
    night.client.run(f"INSERT INTO {SOURCE} SELECT * REPLACE ({odd}) FROM ({row(key(night, 'first'))})")


@pytest.mark.fast
def test_one_user_whose_id_is_no_text_is_published_byte_for_byte(night: Night) -> None:
    poison(night)
    night.assert_exact(night.score("score.explain.rows=5000"))
    sql = f"SELECT count() FROM {TARGETS[1]} WHERE entity_id = unhex('{ODD_BYTES.hex()}')"
    assert night.client.value(sql) == 1


def test_one_user_whose_id_is_no_text_and_who_gets_no_score_is_set_aside(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(night, ", 77777 AS avg_searches")
    chosen = odd_scores(night, monkeypatch)
    run_id = night.score("score.max_rejected=0.01")
    assert runs.find(night.client, run_id).rows_rejected == 4
    night.client.run(f"DELETE FROM {SOURCE} WHERE user_id = unhex('{ODD_BYTES.hex()}')")
    for user in chosen:
        remove(night, user)
    night.assert_exact(run_id)


def test_without_taking_bytes_as_they_are_one_user_stops_the_run(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(night)
    scored = worker._Attempt._scored

    def strictly(self: Any, batch: pa.RecordBatch) -> pa.Table:
        batch.validate(full=True)
        return scored(self, batch)

    monkeypatch.setattr(worker._Attempt, "_scored", strictly)
    before = night.content()
    with pytest.raises(pa.ArrowInvalid, match="UTF8"):
        night.score()
    assert night.content() == before
