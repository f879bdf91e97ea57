"""Test the answers in words, above all where something is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest

from raypipe.config.load import load_pipeline
from raypipe.pages.charts import Point
from raypipe.project import shipped
from raypipe.registry.record import Registered
from raypipe.report import answers, events, nights
from raypipe.report.alerts import Alert
from raypipe.report.events import Event
from raypipe.report.facts import Facts
from raypipe.report.model import Model
from raypipe.report.names import Names
from raypipe.report.performance import Performance, Slice
from raypipe.report.source import Source
from raypipe.score import runs
from raypipe.score.runs import NEVER, Run

DAY = date(2026, 1, 31)
AT = datetime(2026, 2, 1, 6, tzinfo=UTC)
SOURCE = Source(cast(Any, None), DAY - timedelta(365), DAY)


def run(pipeline: str, day: date = DAY, status: str = runs.PUBLISHED, rows: int = 100, **changes: Any) -> Run:
    started = datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=1)
    ended = started + timedelta(seconds=30)
    known = Run(f"{pipeline}_{day:%Y%m%d}", pipeline, day, "", "v1", "", "", "", status, "", rows, 0, 1)
    published = ended if status == runs.PUBLISHED else NEVER
    times = {"started_at": started, "published_at": published, "updated_at": ended}
    return replace(known, **{"rows_published": rows, "sequence": 1, **times, **changes})


def facts(*history: Run, expected: set[str] | None = None, **changes: Any) -> Facts:
    known = nights.nights(history)
    names = {item.pipeline for item in history} if expected is None else expected
    return Facts(SOURCE, AT, {}, Names(SOURCE), tuple(known), frozenset(names), **changes)


def version(name: str = "v1", auc: float | None = 0.81) -> Registered:
    test = {"auc": {"value": auc, "low": 0.8, "high": 0.82}}
    evaluation = {"test": test, "decision": {"metric": "auc"}}
    return Registered("churn", name, "id", "PRODUCTION", "", "", "", True, True, AT, AT, evaluation, {})


def model(pipeline: str = "churn", **changes: Any) -> Model:
    loaded = load_pipeline(pipeline, shipped() / "configs", environ={})
    known = Model(pipeline, loaded, "auc", (version(),), version(), latest=run(pipeline))
    return replace(known, **changes)


def test_a_night_with_every_pipeline_is_complete() -> None:
    answer = answers.complete(facts(run("churn"), run("ads", rows=1)))
    assert (answer.state, answer.words) == ("good", "Yes.")
    assert answer.details == "2 pipelines published 101 rows for 31 Jan 2026, in 1 min 0 s of work."


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        (run("ads", status=runs.FAILED, error="no memory\ntrace"), "raypipe resume ads_20260131"),
        (run("ads", status=runs.REFUSED, error="too few rows"), "raypipe run ads --date 2026-01-31"),
        (None, "raypipe run ads --date 2026-01-31"),
    ],
    ids=["failed", "refused", "never began"],
)
def test_a_night_that_lacks_a_pipeline_says_what_to_type(missing: Run | None, command: str) -> None:
    known = facts(run("churn"), *([missing] if missing else []), expected={"churn", "ads"})
    answer = answers.complete(known)
    assert answer.state == "bad"
    assert f"`{command}`" in answer.details
    assert "trace" not in answer.details
    assert answers.actions(known)[0].command == command


def test_an_old_night_is_not_last_night() -> None:
    answer = answers.complete(facts(run("churn", DAY - timedelta(5))))
    assert answer.state == "watch"
    assert "6 days before the report" in answer.details


def test_without_a_run_there_is_no_night() -> None:
    assert answers.complete(facts()).state == "open"
    assert answers.changed([]).words == "Nothing."


def test_a_failed_rerun_does_not_hide_the_committed_run() -> None:
    rerun = run("churn", status=runs.FAILED, sequence=2)
    assert answers.complete(facts(run("churn"), replace(rerun, run_id="again"))).state == "good"


def test_a_model_worse_by_more_than_noise_is_not_good() -> None:
    measured = {"auc": [Point(DAY - timedelta(30), 0.77, 0.76, 0.78)]}
    known = facts(models={"churn": model()}, performance={"churn": Performance(measured, worse=True, fitted=0.81)})
    answer = answers.still_good(model(), known)
    assert (answer.state, answer.words) == ("bad", "No.")
    assert "AUC 0.770 (0.760 to 0.780) for the predictions of 1 Jan 2026, 0.810 at the fit" in answer.details
    assert "raypipe fit churn" in [action.command for action in answers.actions(known)]


def test_a_model_within_noise_is_good() -> None:
    measured = {"auc": [Point(DAY, 0.80, 0.79, 0.81)]}
    known = facts(performance={"churn": Performance(measured, worse=False, fitted=0.81)})
    assert answers.still_good(model(), known).state == "good"


def test_before_outcomes_an_estimate_is_called_one() -> None:
    known = facts(performance={"churn": Performance(estimated={"auc": [Point(DAY, 0.80, 0.78, 0.82)]})})
    answer = answers.still_good(model(), known)
    assert (answer.state, answer.words) == ("good", "Probably.")
    worse = facts(performance={"churn": Performance(estimated={"auc": [Point(DAY, 0.70, 0.68, 0.72)]})})
    assert answers.still_good(model(), worse).words == "Probably not."


def test_without_outcomes_the_answer_says_when_they_come() -> None:
    answer = answers.still_good(model(), facts())
    assert (answer.state, answer.words) == ("open", "Not known yet.")
    assert "31 Jan 2026, are known after 2 Mar 2026" in answer.details


def test_one_class_is_said_and_not_a_zero() -> None:
    reason = "every outcome is the same (0 of 9 are positive), so there is no AUC"
    known = facts(performance={"churn": Performance({"auc": [Point(DAY, None)]}, reasons={DAY: reason})})
    assert reason in answers.still_good(model(), known).details


def test_without_a_model_the_answer_says_how_to_get_one() -> None:
    answer = answers.still_good(model(versions=(), champion=None, latest=None), facts())
    assert answer.words == "There is no model yet."
    assert "`raypipe run churn`" in answer.details


def test_the_worst_slice_is_named_only_where_it_is_worse_than_noise() -> None:
    measured = {"auc": [Point(DAY, 0.80, 0.79, 0.81)]}
    slices = (Slice("device Mobile", 0.70, 0.68, 0.72, 900), Slice("device Desktop", 0.82, 0.80, 0.84, 900))
    known = facts(performance={"churn": Performance(measured, slices={"auc": slices}, slices_of=DAY)})
    answer = answers.worst(model(), known)
    assert (answer.state, answer.words) == ("watch", "device Mobile.")
    noise = (Slice("device Mobile", 0.79, 0.75, 0.83, 900), Slice("tiny", 0.1, 0.05, 0.2, 3))
    known = facts(performance={"churn": Performance(measured, slices={"auc": noise}, slices_of=DAY)})
    assert answers.worst(model(), known).words == "For nobody clearly."
    assert answers.worst(model(), facts()).state == "open"


def test_an_error_is_worst_where_it_is_highest() -> None:
    slices = (Slice("a", 9.0, 8.0, 10.0, 900), Slice("b", 14.0, 13.0, 15.0, 900))
    found = Performance({"rmse": [Point(DAY, 11.0, 10.5, 11.5)]}, slices={"rmse": slices}, slices_of=DAY)
    assert answers.worst(replace(model(), metric="rmse"), facts(performance={"churn": found})).words == "b."


def test_what_changed_on_a_day_is_listed() -> None:
    history = [run("churn", DAY - timedelta(1)), run("churn", rows=60, model_version="v2")]
    found = events.newest_first(events.of_nights(nights.nights(history), ["churn"]))
    assert [event.words for event in answers.on(found, DAY)] == [
        "60 rows, 40.0 % fewer than on 2026-01-30",
        "now scored by version v2",
    ]
    assert answers.changed(found).words == "On 31 Jan 2026:"


def test_a_pipeline_fitted_every_night_does_not_change_by_that() -> None:
    history = [run("churn", DAY - timedelta(1)), run("churn", model_version="v2")]
    assert events.of_nights(nights.nights(history), ["churn"], {"churn"}) == []


def test_nothing_to_do_is_said() -> None:
    assert answers.what_to_do([]).words == "Nothing."


def test_open_alerts_are_things_to_do_and_ended_alerts_are_not() -> None:
    alert = Alert("churn", "the scores moved", "warning", "open", (DAY,), AT, NEVER)
    known = facts(run("churn"), alerts=(alert, replace(alert, status="resolved")))
    assert [action.why for action in answers.actions(known)] == ["open alert: the scores moved"]


def test_the_answer_about_all_models_names_those_that_need_a_look() -> None:
    measured = {"auc": [Point(DAY, 0.77, 0.76, 0.78)]}
    bad, good = Performance(measured, worse=True, fitted=0.81), Performance(measured, worse=False, fitted=0.78)
    known = facts(models={"churn": model(), "clicks": model("clicks")}, performance={"churn": bad, "clicks": good})
    assert answers.models_good(known).words == "Not churn."
    assert answers.models_good(facts()).state == "open"


def test_events_of_other_pipelines_are_not_a_pipelines_own() -> None:
    known = facts(events=(Event(DAY, "ads", "x"), Event(DAY, "churn", "y")))
    assert [event.words for event in known.events_of("churn")] == ["y"]
