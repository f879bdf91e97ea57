from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse.statements import Statement
from raypipe.errors import ConfigError, DataError
from raypipe.fit.recipe import Recipe, Shares, Snapshot
from raypipe.sweep import space
from raypipe.sweep.plan import SweepPlan
from raypipe.sweep.trial import reason

SPACE: dict[str, dict[str, list[Any]]] = {
    "model.params.max_depth": {"int": [2, 8]},
    "model.params.eta": {"log": [0.01, 0.3]},
    "model.rounds": {"log_int": [50, 500]},
    "model.balance": {"choice": ["none", "scale_pos_weight"]},
    "features.drop": {"subset": ["tier", "sessions"]},
    "parameters.window": {"choice": [7, 28]},
}


@dataclass(frozen=True)
class Feature:
    name: str


DAYS = (date(2026, 1, 1), date(2026, 1, 31))
RECIPE = Recipe(
    pipeline="visits",
    keys=("user_id",),
    carry=(),
    inputs=(),
    parameters={"window": 28},
    entity_id="user_id",
    folder=Path("sql/visits"),
    features=[Feature("sessions"), Feature("tier"), Feature("days")],  # type: ignore[list-item]
    features_sql=Statement("SELECT * FROM t WHERE {slice} AND w = {window:UInt8}"),
    labels_sql=Statement("SELECT 1"),
    snapshots=(
        Snapshot(DAYS[0], ("train", "validation"), {"date": DAYS[0], "window": 28}),
        Snapshot(DAYS[1], ("test",), {"date": DAYS[1], "window": 28}),
    ),
    test_date=DAYS[1],
    shares=Shares(0.2, 0.2, 100, 7),
    label_kind="binary",
    score_range=(0.0, 1.0),
    family="raypipe.models.xgboost:XGBoost",
    params={"max_depth": 4, "eta": 0.05},
    rounds=300,
    early_stopping_rounds=20,
    balance="none",
    workers=0,
    cpus_per_worker=1,
    metric="auc",
    threshold="f1",
    resamples=50,
    suspicious_auc=0.99,
    persistence=None,
    levels=(),
    slice_rows=1000,
)
PLAN = SweepPlan("visits_1", RECIPE, space.axes(SPACE), "auc", 20, None, 1, 30)


def test_a_subset_is_an_axis_for_each_of_its_features() -> None:
    names = [axis.name for axis in space.axes({"features.drop": SPACE["features.drop"]})]
    assert names == ["features.drop:tier", "features.drop:sessions"]


def test_what_a_searcher_suggests_becomes_values_of_the_config() -> None:
    suggested = {
        "model.params.max_depth": 3,
        "model.balance": '"scale_pos_weight"',
        "parameters.window": "7",
        "features.drop:tier": "dropped",
        "features.drop:sessions": "used",
    }
    assert space.decoded(suggested, space.axes(SPACE)) == {
        "model.params.max_depth": 3,
        "model.balance": "scale_pos_weight",
        "parameters.window": 7,
        "features.drop": ["tier"],
    }


def test_the_recipe_itself_is_a_point_of_a_space_that_holds_it() -> None:
    axes = space.axes(SPACE)
    point, outside = space.own_point(RECIPE, axes)
    assert outside == []
    assert space.changed(RECIPE, space.decoded(point, axes)) == RECIPE


STORED = {
    "model.params.max_depth": 3,
    "model.params.eta": 0.1 + 0.2 - 0.2,
    "model.rounds": 100,
    "model.balance": "none",
    "features.drop": ["tier"],
    "parameters.window": 7,
}


def test_the_stored_values_of_a_trial_are_the_point_that_was_suggested() -> None:
    axes = space.axes(SPACE)
    point = space.point_of(json.loads(json.dumps(STORED)), axes)
    assert (point["features.drop:tier"], point["features.drop:sessions"]) == ("dropped", "used")
    assert all(axis.holds(point[axis.name]) for axis in axes)
    assert space.decoded(point, axes) == STORED
    lists = space.axes({"features.drop": {"choice": [[], ["tier"]]}})
    assert space.point_of({"features.drop": ["tier"]}, lists) == {"features.drop": '["tier"]'}


@pytest.mark.parametrize(
    "change",
    [
        {"model.params.max_depth": 9},
        {"model.params.max_depth": "3"},
        {"model.params.eta": None},
        {"model.balance": "posix.system"},
        {"features.drop": ["days"]},
        {"features.drop": "tier"},
        {"model.class": "posix:system"},
    ],
)
def test_stored_values_that_the_space_does_not_hold_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no point of the sweep's space"):
        space.point_of({**STORED, **change}, space.axes(SPACE))


@pytest.mark.parametrize(
    ("change", "axis"),
    [({"params": {"eta": 0.05, "max_depth": 9}}, "model.params.max_depth"), ({"rounds": 20}, "model.rounds")],
)
def test_a_recipe_outside_of_the_space_is_noticed(change: dict[str, Any], axis: str) -> None:
    assert space.own_point(replace(RECIPE, **change), space.axes(SPACE))[1] == [axis]


def test_the_values_of_a_trial_change_the_recipe_and_nothing_else() -> None:
    values = {
        "model.params.eta": 0.2,
        "model.rounds": 100,
        "model.early_stopping_rounds": 5,
        "model.balance": "scale_pos_weight",
        "features.drop": ["tier"],
        "parameters.window": 7,
    }
    made = space.changed(RECIPE, values)
    assert made.params == {"max_depth": 4, "eta": 0.2}
    assert (made.rounds, made.early_stopping_rounds, made.balance) == (100, 5, "scale_pos_weight")
    assert [feature.name for feature in made.features] == ["sessions", "days"]
    assert [item.parameters["window"] for item in made.snapshots] == [7, 7]
    assert made.parameters == {"window": 7}
    kept = ("features_sql", "labels_sql", "shares", "test_date", "metric", "threshold")
    assert [getattr(made, name) for name in kept] == [getattr(RECIPE, name) for name in kept]


def test_only_another_parameter_of_the_sql_makes_a_trial_read_rows_of_its_own() -> None:
    assert not space.reads_anew(RECIPE, {"model.params.eta": 0.2, "features.drop": ["tier"], "parameters.window": 28})
    assert space.reads_anew(RECIPE, {"parameters.window": 7})


@pytest.mark.parametrize(
    ("grace", "most", "expected"),
    [(30, 600, (30, 90, 270)), (30, 270, (30, 90)), (30, 30, ()), (30, 10, ()), (1, 4, (1, 3))],
)
def test_trials_are_compared_at_few_of_their_rounds(grace: int, most: int, expected: tuple[int, ...]) -> None:
    recipe = replace(RECIPE, rounds=most)
    assert replace(PLAN, recipe=recipe, axes=(), grace_rounds=grace).rungs == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            "Failure # 1 (occurred at 2026-01-31)\nray::ImplicitFunc.train() (pid=7, ip=127.0.0.1)\n"
            '  File "x.py", line 1, in f\nKeyError: 0\n\n'
            "The above exception was the direct cause of the following exception:\n\n"
            "ray::ImplicitFunc.train() (pid=7)\nraypipe.errors.Unreachable: Nothing answers\n  found: Error: 7\n",
            "Nothing answers\n  found: Error: 7",
        ),
        ("ray::f()\n  File x\nValueError: no such depth\n", "ValueError: no such depth"),
        ("ray::f()\n  File x\nMemoryError\n", "MemoryError"),
        ("The actor died unexpectedly: SIGKILL.\n", "The actor died unexpectedly: SIGKILL."),
        ("", "the trial's process died"),
    ],
)
def test_a_crashed_trial_says_what_it_raised(report: str, expected: str) -> None:
    assert reason(report) == expected


def test_the_rounds_of_a_trial_are_at_most_those_of_the_space() -> None:
    assert space.most_rounds(RECIPE, space.axes(SPACE)) == 500
    assert space.most_rounds(RECIPE, space.axes({"model.rounds": {"choice": [40, 90, 60]}})) == 90
    assert space.most_rounds(RECIPE, space.axes({"model.params.eta": {"float": [0, 1]}})) == 300


def test_a_space_without_anything_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to search"):
        space.axes({})


def test_more_choices_than_a_search_could_try_are_refused() -> None:
    most = {"choice": list(range(space.MOST_CHOICES))}
    assert len(space.axes({"model.params.max_bin": most})[0].words) == space.MOST_CHOICES
    with pytest.raises(ConfigError, match=r"sweep\.space\.model\.params\.max_bin cannot be searched"):
        space.axes({"model.params.max_bin": {"choice": [*most["choice"], -1]}})


def test_a_sweep_goes_on_elsewhere_but_not_with_other_values() -> None:
    elsewhere = replace(RECIPE, workers=4, slice_rows=5, folder=Path("/elsewhere/sql/visits"))
    assert replace(PLAN, recipe=elsewhere, cpus=8).identity == PLAN.identity
    for changes in ({"params": {"max_depth": 5}}, {"labels_sql": Statement("SELECT 0")}):
        assert replace(PLAN, recipe=replace(RECIPE, **changes)).identity != PLAN.identity
    assert replace(PLAN, axes=space.axes({"model.params.eta": {"float": [0, 1]}})).identity != PLAN.identity
