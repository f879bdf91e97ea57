"""Compare arms over tables in ClickHouse: published results, units with several rows, covariates, looks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.load_experiment import LoadedExperiment, load_experiment
from raypipe.experiment import inference
from raypipe.experiment.abtest import abtest
from raypipe.experiment.inference import OneLook
from raypipe.experiment.result import BETTER, NO_CHANGE, REFUSED, UNDECIDED, WORSE, ExperimentResult
from raypipe.progress import silent
from raypipe.project import shipped
from tests.integration.experiment.conftest import ARMS, MEAN, NOW

Analysed = Callable[..., ExperimentResult]

# The published samples are not part of the repository; the variables name copies.
UDACITY = Path(os.environ.get("RAYPIPE_UDACITY_CSV", "udacity_ab.csv.gz"))
COOKIE_CATS = Path(os.environ.get("RAYPIPE_COOKIE_CATS_CSV", "cookie_cats.csv.gz"))
DAYS = {"time": "at", "since": "2026-01-11", "until": "2026-01-30"}


def fill(client: Client, select: str, table: str = "visits") -> None:
    client.run(f"CREATE TABLE {table} ENGINE = MergeTree ORDER BY tuple() AS {select}")


def counted(client: Client, successes: tuple[int, int], units: tuple[int, int]) -> None:
    """Create units of two arms with so many successes."""
    fill(
        client,
        f"SELECT number AS user_id, number < {units[0]} ? 'control' : 'treatment' AS arm,"
        f" (arm = 'control' ? number < {successes[0]} : number - {units[0]} < {successes[1]}) AS converted"
        f" FROM numbers({sum(units)})",
    )


SHARE = {"name": "converted", "kind": "proportion", "value": "converted"}


def test_a_difference_of_shares_has_the_published_z_and_p(client: Client, analysed: Analysed) -> None:
    """Udacity's landing pages: 17,489 of 145,274 against 17,264 of 145,310 convert."""
    counted(client, (17_489, 17_264), (145_274, 145_310))
    (found,) = analysed(metrics=[SHARE]).metrics[0].comparisons
    assert -(found.statistic or 0) == pytest.approx(1.3109, abs=5e-5)
    assert found.p_value == pytest.approx(0.1899, abs=5e-5)
    assert (found.verdict, found.control_value) == (UNDECIDED, pytest.approx(0.120386, abs=1e-6))


def test_a_share_that_differs_is_better_or_worse_by_the_metrics_direction(client: Client, analysed: Analysed) -> None:
    """Cookie Cats: 8,502 of 44,700 against 8,279 of 45,489 are there after a week."""
    counted(client, (8_279, 8_502), (45_489, 44_700))
    result = analysed(metrics=[SHARE, {**SHARE, "name": "left", "better": "lower"}])
    first, second = (metric.comparisons[0] for metric in result.metrics)
    assert first.statistic == pytest.approx(3.1644, abs=5e-5)
    assert first.p_value == pytest.approx(0.00155, abs=5e-6)
    assert (first.verdict, second.verdict) == (BETTER, WORSE)
    assert (result.status, result.winner) == ("COMPLETED", "treatment")
    assert result.decision.startswith("Take treatment: converted is better than with control. But left is worse")


@pytest.mark.skipif(not UDACITY.is_file(), reason=f"no sample at {UDACITY.name}; set RAYPIPE_UDACITY_CSV")
def test_on_udacitys_rows_the_mismatched_are_left_out_as_declared(client: Client, analysed: Analysed) -> None:
    types = {"user_id": pa.uint64(), "timestamp": pa.string(), "converted": pa.uint8()}
    rows = pyarrow.csv.read_csv(UDACITY, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    client.run(
        "CREATE TABLE visits (user_id UInt64, timestamp String, `group` String, landing_page String, converted UInt8)"
        " ENGINE = MergeTree ORDER BY user_id"
    )
    client.insert("visits", rows)
    result = analysed(
        arm="group",
        where="(`group` = 'treatment') = (landing_page = 'new_page')",
        exposure={"time": "parseDateTimeBestEffort(timestamp)", "since": "2017-01-02", "until": "2017-01-24"},
        metrics=[SHARE],
    )
    (found,) = result.metrics[0].comparisons
    assert result.units == 290_584
    assert -(found.statistic or 0) == pytest.approx(1.3109, abs=5e-5)
    assert found.p_value == pytest.approx(0.1899, abs=5e-5)
    assert 1 - (found.p_value or 0) / 2 == pytest.approx(0.9051, abs=5e-5)
    assert (
        analysed(arm="group", metrics=[SHARE]).warnings[0].endswith("units have rows of several arms and are left out")
    )


@pytest.mark.skipif(not COOKIE_CATS.is_file(), reason=f"no sample at {COOKIE_CATS.name}; set RAYPIPE_COOKIE_CATS_CSV")
def test_on_cookie_cats_rows_retention_is_as_published(client: Client, analysed: Analysed) -> None:
    types = {
        "userid": pa.uint64(),
        "sum_game_rounds": pa.uint32(),
        "retention_1": pa.string(),
        "retention_7": pa.string(),
    }
    rows = pyarrow.csv.read_csv(COOKIE_CATS, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    client.run(
        "CREATE TABLE visits (userid UInt64, version String, sum_game_rounds UInt32, retention_1 String,"
        " retention_7 String) ENGINE = MergeTree ORDER BY userid"
    )
    client.insert("visits", rows)
    result = analysed(
        unit=["userid"],
        arm="version",
        arms=[{"name": "gate_40", "share": 0.5}, {"name": "gate_30", "share": 0.5}],
        metrics=[{**SHARE, "value": "retention_7 = 'True'"}],
    )
    (found,) = result.metrics[0].comparisons
    assert (found.arm_value, found.control_value) == pytest.approx((0.190201, 0.182000), abs=5e-7)
    assert found.statistic == pytest.approx(3.1644, abs=5e-5)
    assert found.p_value == pytest.approx(0.00155, abs=5e-6)


EVENTS = """
SELECT
    number % 2000 AS user_id,
    toDateTime('2026-01-01 00:00:00', 'UTC') + (number * 7919) % (30 * 86400) AS at,
    cityHash64(user_id) % 2 ? 'treatment' : 'control' AS arm,
    cityHash64(number) % 10 AS orders,
    1 + cityHash64(number, 'views') % 5 AS views,
    least(orders, views) AS clicks
FROM numbers(40000)
"""


def per_unit(client: Client, columns: str, where: str) -> dict[str, Any]:
    """Return numbers per unit, added up by a query of the test's own."""
    table = client.table(
        f"SELECT arm, user_id, {columns} FROM visits WHERE {where} GROUP BY arm, user_id ORDER BY user_id"
    )
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def test_rows_of_a_unit_are_joined_before_arms_are_compared(client: Client, analysed: Analysed) -> None:
    fill(client, EVENTS)
    metrics = [
        {"name": "orders", "kind": "mean", "value": "orders"},
        {"name": "rate", "kind": "ratio", "numerator": "clicks", "denominator": "views"},
    ]
    mean, ratio = (metric.comparisons[0] for metric in analysed(metrics=metrics, exposure=DAYS).metrics)
    known = per_unit(client, "sum(orders) AS y, sum(clicks) AS c, sum(views) AS v", "toDate(at) >= '2026-01-11'")
    arms = [known["arm"] == name for name in ("control", "treatment")]
    y, c, v = (known[name].astype(float) for name in "ycv")
    error = sqrt(sum(y[arm].var(ddof=1) / arm.sum() for arm in arms))
    assert mean.statistic == pytest.approx((y[arms[1]].mean() - y[arms[0]].mean()) / error)
    rates = [c[arm].sum() / v[arm].sum() for arm in arms]
    spread = [
        (c[arm] - rate * v[arm]).var(ddof=1) / v[arm].mean() ** 2 / arm.sum()
        for arm, rate in zip(arms, rates, strict=True)
    ]
    assert (ratio.control_value, ratio.arm_value) == pytest.approx(rates)
    assert ratio.statistic == pytest.approx((rates[1] - rates[0]) / sqrt(sum(spread)))


def test_the_metric_before_the_experiment_is_a_covariate(client: Client, analysed: Analysed) -> None:
    # Readers differ in how much they order, before and after.
    fill(
        client,
        EVENTS.replace("cityHash64(number) % 10 AS orders", "cityHash64(user_id, 'o') % 50 + number % 3 AS orders"),
    )
    before = {"since": "2026-01-01", "until": "2026-01-10"}
    metric = {"name": "orders", "kind": "mean", "value": "orders"}
    plain = analysed(metrics=[metric], exposure=DAYS)
    (cuped,) = analysed(metrics=[metric], exposure=DAYS, pre_period=before).metrics
    known = per_unit(
        client, "sumIf(orders, toDate(at) >= '2026-01-11') AS y, sumIf(orders, toDate(at) < '2026-01-11') AS x", "1"
    )
    expected = np.corrcoef(known["y"].astype(float), known["x"].astype(float))[0, 1] ** 2
    assert cuped.variance_cut == pytest.approx(expected, abs=0.01)
    assert cuped.variance_cut > 0.5
    narrow, wide = cuped.comparisons[0].difference, plain.metrics[0].comparisons[0].difference
    assert (narrow.high or 0) - (narrow.low or 0) == pytest.approx(
        ((wide.high or 0) - (wide.low or 0)) * sqrt(1 - expected), rel=0.01
    )


def test_rows_without_an_arm_count_for_units_that_have_one_elsewhere(client: Client, analysed: Analysed) -> None:
    """As in a log of events: one row says who saw what, others say what happened."""
    fill(
        client,
        "SELECT number % 1000 AS user_id, number < 800 ? (number % 2 ? 'control' : 'treatment') : NULL AS arm,"
        " toInt64(number >= 1000) AS orders FROM numbers(3000) UNION ALL SELECT NULL, 'control', 7",
    )
    result = analysed()
    assert result.units == 800
    assert not result.warnings
    (found,) = result.metrics[0].comparisons
    assert (found.control_value, found.arm_value, found.p_value) == (2.0, 2.0, None)
    (most,) = analysed(metrics=[{**MEAN, "per_unit": "max"}]).metrics[0].comparisons
    assert most.control_value == 1.0


def test_a_covariate_that_knows_the_treatment_is_named(client: Client, analysed: Analysed) -> None:
    fill(client, EVENTS.replace("AS views", "+ (arm = 'treatment') AS views"))
    metric = {"name": "orders", "kind": "mean", "value": "orders", "covariate": "views"}
    assert any("may have been measured after the exposure" in text for text in analysed(metrics=[metric]).warnings)
    balanced = analysed(metrics=[{**metric, "covariate": "user_id % 7"}])
    assert not balanced.warnings


def test_missing_values_are_counted_and_left_out(client: Client, analysed: Analysed) -> None:
    fill(client, EVENTS.replace("cityHash64(number) % 10 AS orders", "user_id < 100 ? nan : 1.0 AS orders"))
    (metric,) = (result := analysed()).metrics
    assert (metric.missing, sum(metric.units.values())) == (100, 1900)
    assert "orders: 100 units have no finite value and are left out" in result.warnings


def test_days_begin_in_the_projects_time_zone(
    client: Client, experiment: Callable[..., LoadedExperiment], tmp_path: Path
) -> None:
    fill(
        client,
        "SELECT number AS user_id, number % 2 ? 'control' : 'treatment' AS arm, number % 3 AS orders,"
        " toDateTime('2026-01-10 23:30:00', 'UTC') + number % 4 * 3600 AS at FROM numbers(400)",
    )
    loaded = experiment(exposure={"time": "at", "since": "2026-01-11", "until": "2026-01-11"})
    assert abtest(client, loaded, None, NOW, silent, save=False).units == 300  # type: ignore[union-attr]
    (tmp_path / "configs" / "base.yaml").write_text("timezone: Europe/Helsinki\n")
    loaded = experiment(exposure={"time": "at", "since": "2026-01-11", "until": "2026-01-11"})
    assert abtest(client, loaded, None, NOW, silent, save=False).units == 400  # type: ignore[union-attr]


def test_one_row_per_unit_gives_the_same_without_grouping(client: Client, analysed: Analysed) -> None:
    counted(client, (900, 950), (9_000, 9_000))
    one, many = (analysed(metrics=[SHARE], rows=rows).metrics[0] for rows in ("one", "many"))
    assert one.units == many.units == {"control": 9_000, "treatment": 9_000}
    assert one.comparisons[0].statistic == pytest.approx(many.comparisons[0].statistic)


def test_arms_are_corrected_for_their_number(client: Client, analysed: Analysed) -> None:
    fill(
        client,
        "SELECT number AS user_id, ['a', 'b', 'c'][number % 3 + 1] AS arm,"
        " cityHash64(number) % 1000 < [100, 128, 129][number % 3 + 1] AS converted FROM numbers(9000)",
    )
    arms = [{"name": name, "share": 0.3333} for name in "abc"]
    corrected, plain = (
        analysed(arms=arms, metrics=[SHARE], correction=name).metrics[0].comparisons for name in ("holm", "none")
    )
    p_values = sorted(item.p_value or 0 for item in plain)
    expected = [2 * p_values[0], max(2 * p_values[0], p_values[1])]
    assert sorted(item.adjusted or 0 for item in corrected) == pytest.approx(expected)
    for wide, narrow in zip(corrected, plain, strict=True):
        assert (wide.difference.high or 0) > (narrow.difference.high or 0)


def test_with_looks_the_interval_is_wider_and_the_days_to_go_are_told(client: Client, analysed: Analysed) -> None:
    fill(client, EVENTS)
    metric = {"name": "orders", "kind": "mean", "value": "orders", "detect": 0.005}
    looked = analysed(until=date(2026, 1, 20), metrics=[metric], exposure=DAYS, looks={"planned_units": 2000})
    once = analysed(metrics=[metric], exposure={**DAYS, "until": "2026-01-20"})
    wide, narrow = (result.metrics[0].comparisons[0] for result in (looked, once))
    assert (wide.difference.high or 0) > (narrow.difference.high or 0)
    error = (narrow.difference.value or 0) / (narrow.statistic or 1)
    wanted = inference.units_for(0.005 * narrow.control_value, abs(error), 2000, OneLook(), 0.05, 0.8)
    assert narrow.units_to_go == (wanted or 0) - 2000
    assert narrow.days_to_go == ceil((narrow.units_to_go or 0) / (2000 / 10))
    assert (wide.days_to_go or 0) > (narrow.days_to_go or 0)
    assert (looked.status, looked.decision) == (
        "RUNNING",
        f"Go on for about {wide.days_to_go:,} more days: orders is open.",
    )


def test_one_look_before_the_planned_end_decides_nothing(client: Client, analysed: Analysed) -> None:
    fill(client, EVENTS.replace("cityHash64(number) % 10 AS orders", "(arm = 'control') + number % 3 AS orders"))
    early = analysed(until=date(2026, 1, 20), exposure=DAYS)
    assert (early.status, early.winner) == ("RUNNING", "")
    assert early.decision.startswith("Wait until 2026-01-30")
    assert analysed(exposure=DAYS).winner == "control"


def test_a_change_worth_knowing_can_be_excluded(client: Client, analysed: Analysed) -> None:
    fill(
        client,
        "SELECT number AS user_id, number % 2 ? 'control' : 'treatment' AS arm, 10 + cityHash64(number) % 3 AS orders"
        " FROM numbers(20000)",
    )
    result = analysed(metrics=[{"name": "orders", "kind": "mean", "value": "orders", "detect": 0.02}])
    assert result.metrics[0].comparisons[0].verdict == NO_CHANGE
    assert "is excluded" in result.decision


def test_arms_of_other_sizes_than_planned_are_refused_whatever_the_metrics_say(
    client: Client, analysed: Analysed
) -> None:
    counted(client, (1_000, 2_000), (9_000, 10_000))
    result = analysed(metrics=[SHARE])
    assert result.sample_ratio.mismatch
    assert (result.status, result.winner) == (REFUSED, "")
    assert result.decision.startswith("Do not use this result")
    planned = [{"name": "control", "share": 0.4737}, {"name": "treatment", "share": 0.5263}]
    assert analysed(metrics=[SHARE], arms=planned).winner == "treatment"


def test_an_arm_that_vanished_is_named(client: Client, analysed: Analysed) -> None:
    fill(
        client,
        "SELECT number AS user_id, number % 2 ? 'control' : 'treatment' AS arm, number % 3 AS orders,"
        " toDate('2026-01-11') + number % (arm = 'treatment' ? 5 : 20) AS at FROM numbers(4000)",
    )
    (warning,) = analysed(exposure=DAYS).warnings
    assert warning == "the arm treatment vanished: its last new unit came on 2026-01-15, others came until 2026-01-30"


def test_units_without_any_difference_are_told_in_words(client: Client, analysed: Analysed) -> None:
    counted(client, (0, 0), (500, 500))
    result = analysed(metrics=[SHARE])
    assert result.decision == "Wait: every unit has the same converted, so there is nothing to compare yet."
    assert "NaN" not in json.dumps(result.to_json(), default=str)


def test_a_result_is_stored_once_per_metric_arm_and_day(
    client: Client, experiment: Callable[..., LoadedExperiment]
) -> None:
    migrate(client)
    fill(client, EVENTS)
    loaded = experiment(exposure=DAYS, looks={"planned_units": 2000}, arms=ARMS)
    for until in (date(2026, 1, 20), date(2026, 1, 20), date(2026, 1, 21)):
        abtest(client, loaded, until, NOW, silent)
    rows = client.rows(
        "SELECT test_code, test_end_date, model_a_id, model_b_id, test_status, model_a_predictions,"
        " JSONExtractFloat(metadata, 'difference', 'low') < JSONExtractFloat(metadata, 'difference', 'high')"
        " FROM ml_model_ab_tests FINAL ORDER BY test_end_date"
    )
    assert [row[:5] for row in rows] == [
        ("headline", date(2026, 1, day), "control", "treatment", "RUNNING") for day in (20, 21)
    ]
    assert all(row[5] > 900 and row[6] for row in rows)


def test_the_shipped_aa_test_finds_no_difference_between_the_demos_readers(publisher: Endpoint) -> None:
    with Client(publisher) as client:
        result = abtest(client, load_experiment("aa", shipped() / "configs", environ={}), None, NOW, silent, save=False)
    assert isinstance(result, ExperimentResult)
    assert not result.sample_ratio.mismatch
    assert [metric.comparisons[0].verdict for metric in result.metrics] == [UNDECIDED, UNDECIDED]
    assert result.units > 5_000
