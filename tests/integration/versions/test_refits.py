"""Test refits with their reasons, and provisional first versions, on a pipeline of 1,600 users."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.errors import UsageError
from raypipe.registry import champions, models
from raypipe.registry.record import ModelRecord, Registered
from raypipe.validate import records
from raypipe.validate.records import Batch, Validation
from raypipe.versions.promotion import promote
from raypipe.versions.refit import due
from tests.visits import Visits, dated, visits_at

NIGHT = date(2026, 1, 31)
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def visits(endpoint: Endpoint, tmp_path: Path) -> Iterator[Visits]:
    with visits_at(endpoint, tmp_path) as made:
        yield made


def test_a_refit_is_done_once_per_date_with_its_reason_and_a_failure_leaves_the_champion(visits: Visits) -> None:
    weekly = "model.refit=weekly"
    first = visits.night(0, weekly)
    step = visits.step(1, weekly)
    assert step.refit is not None
    assert step.refit["reason"] == "weekly: the last fit was for 2026-01-03, 7 days before"
    assert (step.refit["promoted"], step.refit["error"], step.warnings) == (False, "", ())
    challenger = models.find(visits.client, "visits", "challenger")
    assert (step.refit["model_version"], challenger.evaluation["decision"]["level"]) == (challenger.version, 0.975)
    champion = models.find(visits.client, "visits", "champion")
    assert due(visits.client, champion, "weekly", dated(1)) is None

    step = visits.step(2, weekly, "model.params.eval_metric=no_metric")
    assert (step.status, step.verified, step.rows_published) == ("done", True, 1600)
    assert step.refit is not None
    assert (step.refit["model_version"], step.refit["promoted"]) == (None, False)
    assert "no_metric" in step.refit["error"]
    (warning,) = step.warnings
    assert warning.startswith(f"the refit failed, and the champion {first.score.manifest.model_version} scored: ")

    causes = [("first", 0, "there was no champion")]
    causes += [("weekly", week, f"the last fit was for {dated(week - 1)}, 7 days before") for week in (1, 2)]
    assert visits.recorded() == [
        (status, {"trigger": name, "date": str(dated(week)), "reason": f"{name}: {reason}"})
        for status, (name, week, reason) in zip(("COMPLETED", "COMPLETED", "FAILED"), causes, strict=True)
    ]
    # What failed is tried again; a night of the past learns nothing.
    assert [due(visits.client, champion, "weekly", dated(week)) is not None for week in (2, 1)] == [True, False]


def test_a_first_version_without_a_signal_is_provisional_until_it_is_promoted_by_hand(visits: Visits) -> None:
    blind = ("features=[noise]", "model.rounds=1")
    step = visits.step(0, *blind)
    assert (step.status, step.verified) == ("done", True)
    champion = models.find(visits.client, "visits", "champion")
    assert champion.is_provisional
    (warning,) = step.warnings
    assert warning.startswith(f"the champion {champion.version} is provisional: not shown to be above the strongest")
    assert visits.client.value("SELECT tags FROM ml_model_registry FINAL") == ["provisional"]
    by_hand(visits, blind, champion.version)
    assert not models.find(visits.client, "visits", "champion").is_provisional
    with pytest.raises(UsageError, match="is the champion of visits already"):
        by_hand(visits, blind, champion.version)


def by_hand(visits: Visits, overrides: Sequence[str], version: str) -> None:
    promote(
        visits.client.endpoint,
        visits.loaded(*overrides),
        version,
        reason="good enough",
        set_by="a test",
        if_better=False,
        changed_contract=False,
    )


@pytest.fixture
def champion(client: Client) -> Registered:
    """A champion in a database of its own, fitted long ago."""
    migrate(client)
    record = ModelRecord("churn", "v1", "CANDIDATE", "classification", "a", "b", "c", AT)
    return champions.promote(client, models.register(client, record, AT), "the first", "a test", AT)


def drifted(client: Client, champion: Registered, day: date, *names: str, at: datetime = AT) -> None:
    row = {"monitoring_id": f"{day} {at}", "model_id": champion.model_id, "monitoring_date": day}
    metadata = json.dumps({"since_fit": names})
    client.insert_rows("ml_model_monitoring", [{**row, "metadata": metadata, "created_at": at}])


def test_drift_of_one_feature_on_the_last_three_dates_is_a_cause(client: Client, champion: Registered) -> None:
    dates = [NIGHT - timedelta(days=days) for days in (3, 2, 1)]
    for day in dates[:2]:
        drifted(client, champion, day, "tenure", "score")
    assert due(client, champion, "on_drift", NIGHT) is None
    drifted(client, champion, dates[2], "another")
    assert due(client, champion, "on_drift", NIGHT) is None
    # The later run of a date counts.
    drifted(client, champion, dates[2], "tenure", at=AT + timedelta(hours=1))
    cause = due(client, champion, "on_drift", NIGHT)
    assert cause is not None
    assert cause.reason == "on_drift: drift on each of the last 3 published dates (2026-01-28 to 2026-01-30): tenure"
    # A row of the night itself does not count, so that the night may be repeated.
    drifted(client, champion, NIGHT)
    assert due(client, champion, "on_drift", NIGHT) == cause
    assert due(client, champion, "on_drift", NIGHT + timedelta(days=1)) is None
    assert due(client, champion, "on_performance", NIGHT) is None


def test_outcomes_known_before_the_night_that_are_worse_on_three_dates_are_a_cause(
    client: Client, champion: Registered
) -> None:
    for days, worse in ((11, True), (10, True), (9, True), (8, False)):
        day = NIGHT - timedelta(days=days)
        batch = Batch("churn", day, f"run of {day}", champion.model_id, champion.version)
        records.write(client, Validation(batch, day + timedelta(days=8), worse=worse), AT)
    cause = due(client, champion, "on_performance", NIGHT)
    assert cause is not None
    assert "(2026-01-20 to 2026-01-22) were worse than at the fit" in cause.reason
    assert due(client, champion, "on_performance", NIGHT + timedelta(days=1)) is None
    # Monitoring waits for the outcome of a fit.
    assert due(client, champion, "on_performance", AT.date() + timedelta(days=6)) is None
