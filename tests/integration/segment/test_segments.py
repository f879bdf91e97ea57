"""Test segments: one per reader, with stable numbers and one current row, even after reruns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from raypipe import night
from raypipe.artifact import stores
from raypipe.artifact.package import load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError
from raypipe.fit import fit
from raypipe.fit.fit import FitResult
from raypipe.project import shipped
from raypipe.registry import aliases, models
from raypipe.registry.record import ModelRecord
from raypipe.score import current_rows, ledger, publish, publish_sql, runs, score
from raypipe.score.manifest import Manifest
from raypipe.score.score import ScoreResult
from raypipe.segment.clusters import Clusters
from tests.artifacts import as_format_1
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher

LAST = PUBLISHER_LAST_DATE
EARLIER = LAST - timedelta(days=15)
ENTITY = "company_id, brand_id, user_id"


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Nights:
    """The segments of two dates, the later one run last."""

    publisher: FittedPublisher
    loaded: Loaded
    earlier: ScoreResult
    later: ScoreResult
    versions: tuple[FitResult, FitResult]

    def configured(self, clusters: int) -> Loaded:
        """With another k, and all rows in one slice."""
        overrides = [f"model.params.clusters={clusters}", "score.slice_rows=250000"]
        own = [*self.publisher.overrides, "evaluate.bootstrap=50", *overrides]
        return load_pipeline("segmentation", shipped() / "configs", own, environ={})

    def run(self, day: date) -> ScoreResult:
        return night.run_pipeline(self.publisher.endpoint, self.loaded, day, silent).score


@pytest.fixture(scope="module")
def nights(fitted_publisher: FittedPublisher) -> Nights:
    overrides = [*fitted_publisher.overrides, "evaluate.bootstrap=50", "score.slice_rows=5000"]
    loaded = load_pipeline("segmentation", shipped() / "configs", overrides, environ={})
    found = [night.run_pipeline(fitted_publisher.endpoint, loaded, day, silent) for day in (EARLIER, LAST)]
    first, second = found
    assert first.fit is not None
    assert second.fit is not None
    return Nights(fitted_publisher, loaded, first.score, second.score, (first.fit, second.fit))


@pytest.fixture
def reader(nights: Nights) -> Iterator[Client]:
    with Client(nights.publisher.endpoint) as client:
        yield client


def population(nights: Nights, reader: Client, day: date) -> int:
    sql = unsliced(load(nights.loaded.sql("segmentation/features.sql")).text)
    return int(reader.value(f"SELECT count() FROM ({sql})", {"date": day}))


def assigned(reader: Client) -> dict[tuple[date, int], tuple[int, int]]:
    rows = reader.rows(
        f"SELECT assignment_date, is_current, count(), uniqExact({ENTITY}) FROM customer_user_segment_assignments"
        " GROUP BY 1, 2"
    )
    return {(day, current): (count, distinct) for day, current, count, distinct in rows}


def as_it_should_be(nights: Nights, reader: Client) -> None:
    before, now = population(nights, reader, EARLIER), population(nights, reader, LAST)
    assert assigned(reader) == {(EARLIER, 0): (before, before), (LAST, 1): (now, now)}


def test_everybody_has_one_current_segment_and_the_earlier_day_is_closed(nights: Nights, reader: Client) -> None:
    assert nights.later.outcome.run.rows_published == population(nights, reader, LAST)
    as_it_should_be(nights, reader)


def test_closing_again_changes_nothing(nights: Nights, reader: Client) -> None:
    target = nights.later.manifest.targets[1]
    current_rows.close_earlier(reader, nights.later.manifest, target)
    as_it_should_be(nights, reader)


def test_a_column_that_the_target_lacks_is_refused_before_anything_is_scored(nights: Nights, reader: Client) -> None:
    config = nights.loaded.config
    wrong = config.publish[1].model_copy(update={"current": "is_latest"})
    loaded = replace(nights.loaded, config=config.model_copy(update={"publish": (config.publish[0], wrong)}))
    before = len(runs.listed(reader, "segmentation", limit=100))
    with pytest.raises(ConfigError, match="cannot mark which rows are current") as refused:
        score.score(nights.publisher.endpoint, loaded, LAST, "champion", silent)
    assert "is_latest" in str(refused.value)
    assert len(runs.listed(reader, "segmentation", limit=100)) == before


def test_a_day_can_be_run_again_and_an_earlier_one_after_it_is_not_current(nights: Nights, reader: Client) -> None:
    again = [nights.run(day) for day in (LAST, EARLIER)]
    as_it_should_be(nights, reader)
    known = runs.listed(reader, "segmentation", limit=100)
    standing = {run.run_id for run in known if run.status == runs.PUBLISHED}
    assert standing == {one.manifest.run_id for one in again}
    found = reader.rows("SELECT DISTINCT assignment_date, model_version FROM customer_user_segment_assignments")
    assert set(found) == {(one.manifest.date, one.manifest.model_version) for one in again}


def test_a_segment_has_one_row_a_brand_and_counts_its_readers(nights: Nights, reader: Client) -> None:
    ((rows, ids, users, unnamed),) = reader.rows(
        "SELECT count(), uniqExact(segment_id), sum(user_count), countIf(segment_name = '')"
        " FROM customer_user_segments FINAL WHERE updated_at = toDateTime({date:Date} + 1, 'UTC')",
        {"date": LAST},
    )
    assert rows == ids
    assert (users, unnamed) == (population(nights, reader, LAST), 0)
    ((dangling,),) = reader.rows(
        "SELECT count() FROM customer_user_segment_assignments WHERE is_current = 1 AND segment_id NOT IN"
        " (SELECT segment_id FROM customer_user_segments)"
    )
    assert dangling == 0


def test_numbers_follow_the_clusters_of_the_champion(nights: Nights, reader: Client) -> None:
    first, second = (
        load_package(one.version.artifact_uri, one.version.artifact_sha256, reader).model for one in nights.versions
    )
    assert isinstance(first, Clusters)
    assert isinstance(second, Clusters)
    assert second.match(first.centroids).centroids.numbers == second.centroids.numbers
    assert set(first.centroids.numbers) & set(second.centroids.numbers)


def test_k_is_the_one_with_the_highest_silhouette_and_each_that_was_tried_has_its_row(
    nights: Nights, reader: Client
) -> None:
    chosen = [outcome.fitted.test["clusters"] for outcome in nights.versions]
    for outcome, k in zip(nights.versions, chosen, strict=True):
        rows = reader.rows(
            "SELECT JSONExtractInt(hyperparameters, 'model.params.clusters') AS k,"
            " JSONExtractFloat(validation_metrics, 'silhouette'), run_status, training_dataset_size"
            " FROM ml_model_training_runs FINAL WHERE run_type = 'TUNING' AND startsWith(run_id, {trials:String})"
            " ORDER BY k",
            {"trials": f"{outcome.fitted.history['trials']}_"},
        )
        curve = {row[0]: row[1] for row in rows}
        assert list(curve) == [3, 4, 5, 6, 7, 8]
        assert {row[2:] for row in rows} == {("COMPLETED", outcome.fitted.rows["train"])}
        assert k in (max(curve, key=lambda k: curve[k]), chosen[0])
        assert 0 < outcome.fitted.test["silhouette"]["low"] < outcome.fitted.test["silhouette"]["high"] < 0.99


def test_the_report_names_segments_and_readers(nights: Nights, reader: Client) -> None:
    run = runs.listed(reader, "segmentation", limit=100)
    newest = next(one for one in run if one.date == LAST and one.status == runs.PUBLISHED)
    names, report = reader.named_rows(
        load(nights.loaded.sql("segmentation/report.sql")).text, {"run_id": newest.run_id, "date": LAST}
    )
    assert len(report) == newest.rows_published
    for name in ("brand_name", "segment_name", "device_type_name", "country_name", "category_name"):
        assert all(row[names.index(name)] for row in report), name


def standing(reader: Client) -> dict[int, tuple[int, int, set[str]]]:
    """By number: whether it is active, its readers in all brands, and its names."""
    rows = reader.rows(
        "SELECT cluster_number, min(is_active), max(is_active), sum(user_count), groupUniqArray(segment_name)"
        " FROM customer_user_segments FINAL GROUP BY cluster_number"
    )
    assert all(lowest == highest for _, lowest, highest, *_ in rows)
    return {number: (active, users, set(names)) for number, active, _, users, names in rows}


def swapped_and_merged(nights: Nights, reader: Client, version: str) -> str:
    """A run that died between the two targets, whose segments have been merged with the earlier ones since."""

    def die(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("publish", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score.score(nights.publisher.endpoint, nights.configured(2), LAST, version, die)
    died = runs.listed(reader, "segmentation", limit=1)[0]
    manifest = Manifest.from_json(died.manifest)
    target, written = manifest.targets[0], ledger.reconcile(reader, manifest)
    rows = publish_sql.expected(reader, manifest, target, written, died.source_rows)
    publish.swap(reader, manifest, publish.prepare(reader, manifest, target, written, rows, died.sequence))
    reader.run("OPTIMIZE TABLE customer_user_segments FINAL")
    return died.run_id


def test_a_segment_that_vanishes_is_closed_and_its_number_given_to_nobody(nights: Nights, reader: Client) -> None:
    endpoint = nights.publisher.endpoint
    known = runs.listed(reader, "segmentation", limit=100)
    version = next(run.model_version for run in known if run.date == LAST and run.status == runs.PUBLISHED)
    before, everybody = standing(reader), population(nights, reader, LAST)
    # A segment that another tool wrote is none of raypipe's.
    reader.run("INSERT INTO customer_user_segments (segment_id, cluster_number, user_count) VALUES ('own', 999, 7)")
    fewer = fit.fit(endpoint, nights.configured(2), LAST, silent)
    assert fewer.fitted.decision.promote, fewer.fitted.decision.reason
    left = set(fewer.fitted.history["numbers"])
    gone = set(before) - left
    assert len(left) == 2
    assert gone

    def closed() -> None:
        now = standing(reader)
        assert now.pop(999) == (1, 7, {""})
        assert set(now) == set(before) | left
        assert {number: now[number] for number in gone} == {number: (0, 0, before[number][2]) for number in gone}
        assert {now[number][0] for number in left} == {1}
        assert sum(users for _, users, _ in now.values()) == everybody
        ((dangling,),) = reader.rows(
            "SELECT count() FROM customer_user_segment_assignments WHERE is_current = 1 AND segment_id NOT IN"
            " (SELECT segment_id FROM customer_user_segments FINAL WHERE is_active = 1)"
        )
        assert dangling == 0

    died = swapped_and_merged(nights, reader, fewer.version.version)
    resumed = score.resume(endpoint, nights.configured(2), died, silent).outcome.run
    assert (resumed.run_id, resumed.status, resumed.rows_published) == (died, runs.PUBLISHED, everybody)
    closed()
    # An earlier date after it changes nothing.
    score.score(endpoint, nights.configured(2), EARLIER, "champion", silent)
    closed()
    # The champion has never had the numbers that are gone.
    more = fit.fit(endpoint, nights.configured(4), LAST, silent)
    assert not gone & set(more.fitted.history["numbers"])
    # As a rollback does it.
    score.score(endpoint, nights.configured(2), LAST, version, silent)
    after = standing(reader)
    assert {number: after[number] for number in before} == before
    assert {after[number][0] for number in left - set(before)} <= {0}


def test_a_champion_of_the_earlier_format_is_named_and_does_not_stop_a_fit(
    nights: Nights, reader: Client, tmp_path: Path
) -> None:
    at = datetime.now(UTC)
    champion = models.find(reader, "segmentation", aliases.CHAMPION)
    content = stores.at(champion.artifact_uri, reader).open(champion.artifact_sha256)
    old = as_format_1(content, tmp_path)
    kind = ("k-means", "scikit-learn", "k-means", "json", at)
    record = ModelRecord("segmentation", "20260101.000000.earlier", "CANDIDATE", *kind, old.uri, old.sha256)
    earlier = models.register(reader, record, at)
    aliases.move(reader, "segmentation", {aliases.CHAMPION: earlier}, "a test", "a test", at)
    fitted = fit.fit(nights.publisher.endpoint, nights.loaded, LAST, silent)
    named = "The artifact of segmentation 20260101.000000.earlier was written by another version of raypipe"
    assert fitted.fitted.warnings == (f"the champion's clusters could not be followed: {named}",)
    assert models.find(reader, "segmentation", aliases.CHAMPION).version == fitted.version.version
