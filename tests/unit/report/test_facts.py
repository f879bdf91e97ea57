"""Test what the report makes of rows: lift, drift, names, experiments with an empty arm."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any, cast

from raypipe.pages.markup import Markup
from raypipe.report import alerts, drift, experiments, names, performance
from raypipe.report.drift import Drift, Measure
from raypipe.report.experiments import Experiment
from raypipe.report.names import Names
from raypipe.report.source import Source

DAY = date(2026, 1, 31)


class Rows(Source):
    """A source that answers from memory."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        super().__init__(cast(Any, None), DAY, DAY)
        object.__setattr__(self, "answers", answers)

    def rows(self, name: str, needs: str, fragments: Any = None, **parameters: object) -> Any:
        return cast(Any, self).answers.get(name, [])


def test_lift_is_the_share_of_positives_that_the_highest_scores_reach() -> None:
    bins = ((0.1, 0.0, 50), (0.9, 1.0, 50))
    assert performance.lift(bins) == [(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)]
    assert performance.lift(((0.1, 0.0, 50),)) == []
    assert performance.lift(()) == []


def test_features_that_moved_are_one_change_of_a_night_the_most_moved_first() -> None:
    features = {name: {DAY: Measure(psi, "alert")} for name, psi in (("a", 0.3), ("b", 0.9), ("c", 0.5), ("d", 0.4))}
    (event,) = drift.events("churn", Drift(features={**features, "calm": {DAY: Measure(0.01, "ok")}}))
    assert event.words == "b (PSI 0.90), c (PSI 0.50), d (PSI 0.40) and 1 more feature moved"


def test_a_mean_that_moved_is_told_by_its_move_and_not_by_its_index() -> None:
    reason = "the mean moved by 7 times its usual move since 2026-01-29"
    (event,) = drift.events("churn", Drift(scores={DAY: Measure(0.004, "alert", reason)}))
    assert event.words == f"the scores moved ({reason})"


def test_an_alert_names_its_slice_and_keeps_its_numbers() -> None:
    row = {
        **{
            "pipeline": "churn",
            "slice_column": "brand_id",
            "slice_value": "1",
            "severity": "warning",
            "status": "open",
        },
        "message": "churn: score_drift where brand_id is 1 is 0.31, more than usual, on 2026-01-31",
        **{"dates": [DAY], "opened_at": datetime(2026, 1, 31), "resolved_at": datetime(2026, 1, 31)},
    }
    known = Names(Rows(), {"brand_id": {"1": "Harbour News"}})
    (alert,) = alerts.read_alerts(Rows(alerts=[row]), known)
    assert alert.words == "churn: score_drift where brand_id is Harbour News is 0.31, more than usual, on 2026-01-31"


def test_a_slice_is_named_in_words() -> None:
    known = Names(Rows(), {"brand_id": {"b1": "Harbour News"}})
    assert names.slice_label("brand_id", "b1", known) == "brand Harbour News"
    assert names.slice_label("preferred_device_type_id", "", known) == "device unknown"
    assert names.brief("0123456789abcdef") == "0123456789ab…"


def test_a_batch_that_could_not_be_judged_has_a_reason_and_no_value() -> None:
    row = {"pipeline": "churn", "date": DAY, "kind": "measured", "slice_column": "", "metric": "auc", "value": None}
    source = Rows(performance=[{**row, "low": None, "high": None, "reason": "one class"}])
    found = performance.read(source, Names(source))["churn"]
    assert found.reasons == {DAY: "one class"}
    assert found.measured["auc"][0].value is None


def look(day: date, lift: float, units: tuple[int, int] = (100, 100), **changes: Any) -> dict[str, Any]:
    interval = {"value": lift, "low": lift - 0.1, "high": lift + 0.1}
    notes = {"metric": "clicked", "kind": "proportion", "difference": interval, "relative": interval}
    row = {
        "test_code": "headline", "test_name": "", "model_a_id": "old", "model_b_id": "new", "test_start_date": DAY,
        "test_end_date": day, "test_status": "RUNNING", "model_a_metric": 0.1, "model_b_metric": 0.2,
        "model_a_predictions": units[0], "model_b_predictions": units[1], "winning_model_id": "",
        "metadata": json.dumps({**notes, "decision": "Go on."}),
    }  # fmt: skip
    return {**row, **changes}


def read(*rows: dict[str, Any]) -> Experiment:
    (found,) = experiments.read(Rows(experiments=list(rows)))
    return found


def test_an_experiment_keeps_its_looks_and_takes_the_last_decision() -> None:
    last = date(2026, 2, 1)
    found = read(look(DAY, 0.3), look(last, 0.2, test_status="COMPLETED", winning_model_id="new"))
    assert [item.day for item in found.looks] == [DAY, last]
    assert experiments.answer(found).words == "new won."
    assert "+20 % (+10 % to +30 %)" in experiments.show(found)


def test_an_empty_arm_is_said_and_never_drawn_as_zero() -> None:
    found = read(look(DAY, 0.0, (100, 0)))
    assert experiments.answer(found).details.startswith("The arm new has no units")
    html = experiments.show(found)
    assert "an arm has no units" in html
    assert "0.00 %" not in html


def test_a_refused_experiment_is_not_trusted() -> None:
    found = read(look(DAY, 0.3, test_status="REFUSED"))
    assert experiments.answer(found).state == "bad"


def test_a_name_with_markup_stays_text() -> None:
    html: Markup = experiments.show(read(look(DAY, 0.3, model_b_id="<img src=x>")))
    assert "<img" not in html
    assert "&lt;img" in html
