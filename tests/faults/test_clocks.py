"""Test that no clock decides which run of a date counts: the order is the epoch of the lock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import UsageError
from raypipe.score import run, runs
from raypipe.score.manifest import Manifest
from raypipe.score.runs import Run
from tests.faults.few import DAY, Night, clock, few_readers
from tests.faults.nights import TARGETS, before_call

AHEAD = timedelta(minutes=10)


@pytest.fixture(scope="module")
def months(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with few_readers(endpoint, tmp_path_factory.mktemp("months"), "publisher") as made:
        yield made


@pytest.fixture(params=["days", "months"])
def night(request: pytest.FixtureRequest) -> Night:
    """Provide targets whose partitions are days, then months."""
    made: Night = request.getfixturevalue(request.param)
    made.empty()
    return made


# `make test` has one of the two; the other says the same.
DAYS = pytest.mark.parametrize("night", [pytest.param("days", marks=pytest.mark.fast), "months"], indirect=True)
MONTHS = pytest.mark.parametrize("night", ["days", pytest.param("months", marks=pytest.mark.fast)], indirect=True)
OFFSETS = pytest.mark.parametrize(
    "offset", [pytest.param(AHEAD, id="ahead", marks=pytest.mark.fast), pytest.param(-AHEAD, id="behind")]
)


def two_runs(night: Night, offset: timedelta) -> tuple[str, str]:
    """Publish on a host with a wrong clock, then on a host that dies right after its commit."""
    with clock(offset):
        first = night.score()
    second = night.plan()
    night.dies(second, run, "_tidy")
    return first, second.run_id


@pytest.mark.parametrize(
    ("night", "offset"),
    [
        pytest.param("days", AHEAD, id="days-ahead"),
        pytest.param("days", -AHEAD, id="days-behind", marks=pytest.mark.fast),
        pytest.param("months", AHEAD, id="months-ahead", marks=pytest.mark.fast),
        pytest.param("months", -AHEAD, id="months-behind"),
    ],
    indirect=["night"],
)
def test_the_later_run_of_a_date_counts_whatever_the_clocks_say(night: Night, offset: timedelta) -> None:
    first, second = two_runs(night, offset)
    assert night.versions()["raypipe_current_predictions"] == {second: night.find(second).source_rows}
    assert run.retire_superseded(night.client) == (first,)
    night.assert_exact(second)
    assert night.find(first).status == runs.SUPERSEDED


def by_publication(client: Client) -> list[tuple[Run, Run]]:
    """Order the published runs by the clocks of their hosts."""
    published = sorted(runs.select(client, "status = 'PUBLISHED'", {}), key=lambda item: item.published_at)
    return [(earlier, published[-1]) for earlier in published[:-1]]


@pytest.mark.fast
def test_without_the_sequence_cleaning_deletes_the_only_predictions_of_a_date(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = two_runs(daily, AHEAD)
    monkeypatch.setattr(runs, "superseded", by_publication)
    assert run.retire_superseded(daily.client) == (second,)
    assert [daily.versions()[table] for table in TARGETS] == [{}, {}]


@MONTHS
def test_a_host_far_in_the_future_dates_no_other_run(night: Night) -> None:
    with clock(timedelta(days=300)):
        night.score()
    before = datetime.now(UTC).replace(microsecond=0)
    second = night.score()
    dated = night.find(second).run_at
    assert before <= dated <= datetime.now(UTC) + timedelta(seconds=5)
    night.assert_exact(second)


@DAYS
def test_the_view_is_never_empty_while_the_earlier_run_of_a_fast_clock_is_removed(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock(AHEAD):
        night.score()
    seen: list[dict[str, int]] = []
    second = night.plan()
    before_call(monkeypatch, run.publish, "remove_earlier", lambda: seen.append(view(night)))
    before_call(monkeypatch, run.staging, "drop", lambda: seen.append(view(night)))
    night.run(second)
    assert seen == [{second.run_id: second.source_rows}] * 2


def view(night: Night) -> dict[str, int]:
    return night.versions()["raypipe_current_predictions"]


@OFFSETS
def test_a_run_is_not_resumed_over_a_later_run_of_another_clock(daily: Night, offset: timedelta) -> None:
    stopped = daily.plan()
    daily.dies(stopped, run, "_publish")
    with clock(offset):
        later = daily.plan()
        daily.dies(later, run, "_tidy")
    with pytest.raises(UsageError, match="is published for its date"):
        daily.run(stopped)
    assert daily.versions()["ml_model_predictions"] == {later.run_id: later.source_rows}


@OFFSETS
def test_a_resume_on_a_host_with_another_clock_counts(daily: Night, offset: timedelta) -> None:
    stopped = daily.plan()
    daily.dies(stopped, run, "_publish")
    with clock(offset):
        daily.run(stopped)
    assert daily.find(stopped).status == runs.PUBLISHED
    daily.assert_exact(stopped)


@MONTHS
def test_a_run_that_is_resumed_replaces_a_run_that_began_later_and_failed(night: Night) -> None:
    stopped = night.plan()
    night.dies(stopped, run, "_publish")
    failed = night.plan()
    night.dies(failed, run.publish, "verify")
    night.run(stopped)
    night.assert_exact(stopped)
    assert night.find(failed).status == runs.SUPERSEDED


@pytest.mark.fast
def test_the_rows_that_are_kept_for_readers_are_those_of_the_later_run(daily: Night) -> None:
    _, second = two_runs(daily, AHEAD)
    third = daily.plan()
    daily.dies(third, runs, "commit")
    assert daily.seen() == {second: third.source_rows}


FOREIGN = (pytest.param('{"targets": [{"name": "x"}], "form": 9}', marks=pytest.mark.fast), "no JSON at all")


@pytest.mark.parametrize("manifest", FOREIGN)
def test_a_run_of_another_version_is_retired_by_its_columns(daily: Night, manifest: str) -> None:
    first, second = two_runs(daily, timedelta(0))
    foreign = daily.find(first)
    runs.save(daily.client, foreign, foreign.sequence, manifest=manifest)
    assert run.retire_superseded(daily.client) == (first,)
    daily.assert_exact(second)


@pytest.mark.fast
def test_a_latest_run_of_another_version_is_named_and_does_not_keep_the_others(
    daily: Night, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = two_runs(daily, timedelta(0))
    newest = daily.find(second)
    other_day = DAY - timedelta(days=1)
    for name, sequence in (("other_1", 90), ("other_2", 91)):
        moved = runs.replace(newest, run_id=name, date=other_day, sequence=sequence)
        runs.save(daily.client, moved, sequence)
    runs.save(daily.client, newest, newest.sequence, manifest="{}")
    assert run.retire_superseded(daily.client) == ("other_1",)
    assert first in caplog.text
    assert second in caplog.text
    # A new run of the date retires both.
    daily.assert_exact(daily.score())
    assert daily.find(first).status == daily.find(second).status == runs.SUPERSEDED


@pytest.mark.fast
def test_without_the_columns_a_run_of_another_version_blocks_cleaning(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two_runs(daily, timedelta(0))
    foreign = daily.find(first)
    runs.save(daily.client, foreign, foreign.sequence, manifest="{}")
    drop = run.staging.drop
    monkeypatch.setattr(run.staging, "drop", lambda client, gone: drop(client, Manifest.from_json(gone.manifest)))
    assert run.retire_superseded(daily.client) == ()
