"""Experiments that cannot be analysed end with a sentence that names the cause."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, DataError, RaypipeError, UsageError

Analysed = Callable[..., Any]
ROWS = """
CREATE TABLE visits ENGINE = MergeTree ORDER BY tuple() AS
SELECT number AS user_id, number % 2 ? 'control' : 'treatment' AS arm, number % 3 AS orders, 'a' AS page,
    toDate('2026-01-11') + number % 10 AS day, nan AS broken
FROM numbers(400)
"""


def refused(analysed: Analysed, kind: type[RaypipeError], **config: Any) -> RaypipeError:
    with pytest.raises(kind) as refusal:
        analysed(**config)
    assert refusal.value.next_step
    return refusal.value


def metric(value: str, kind: str = "mean") -> dict[str, str]:
    return {"name": "orders", "kind": kind, "value": value}


def test_no_rows(client: Client, analysed: Analysed) -> None:
    client.run(ROWS)
    error = refused(analysed, DataError, where="user_id > 1000")
    assert error.problem == "The experiment has no units"
    dated = {"time": "day", "since": "2025-01-01", "until": "2025-01-31"}
    assert refused(analysed, DataError, exposure=dated).problem == "The experiment has no units"


def test_an_empty_arm_and_an_arm_of_another_name(client: Client, analysed: Analysed) -> None:
    client.run(ROWS)
    arms = [{"name": "control", "share": 0.5}, {"name": "Treatment", "share": 0.5}]
    error = refused(analysed, DataError, arms=arms)
    assert error.problem == "The arm Treatment has no units, so there is nothing to compare"
    assert error.found == "control 200, Treatment 0; 200 of other arms"


def test_a_table_of_one_row(client: Client, analysed: Analysed) -> None:
    client.run(ROWS.replace("numbers(400)", "numbers(1)"))
    assert "The arm control has no units" in refused(analysed, DataError).problem
    assert "one unit" in refused(analysed, DataError, arms=[{"name": "treatment", "share": 0.5}, ARM]).problem


ARM = {"name": "control", "share": 0.5}


def test_values_that_are_all_nan(client: Client, analysed: Analysed) -> None:
    client.run(ROWS)
    error = refused(analysed, DataError, metrics=[metric("broken")])
    assert error.problem == "orders has no value in the arm control"
    assert error.found == "0 of 200 units with a finite value; the others are NULL, NaN or infinite"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"unit": ["reader"]}, "unit.0"),
        ({"arm": "groop"}, "arm"),
        ({"where": "pag = 'a'"}, "where"),
        ({"metrics": [metric("ordrs")]}, "metrics.orders.value"),
        ({"metrics": [metric("sum(orders")]}, "metrics.orders.value"),
        ({"metrics": [{**metric("orders"), "covariate": "before"}]}, "metrics.orders.covariate"),
        ({"exposure": {"time": "seen_at", "since": "2026-01-11"}}, "exposure.time"),
    ],
)
def test_an_expression_that_the_table_cannot_answer_is_named_by_its_key(
    client: Client, analysed: Analysed, config: dict[str, Any], key: str
) -> None:
    client.run(ROWS)
    error = refused(analysed, ConfigError, **config)
    assert error.problem == f"{key} cannot be read"
    assert error.allowed == "the columns user_id, arm, orders, page, day, broken"


def test_a_table_that_does_not_exist(client: Client, analysed: Analysed) -> None:
    assert "visit" in str(refused(analysed, ConfigError, table="visit").found)


def test_text_is_no_number_and_no_time(client: Client, analysed: Analysed) -> None:
    client.run(ROWS)
    assert refused(analysed, ConfigError, metrics=[metric("page")]).found == "the type String"
    timed = {"time": "page", "since": "2026-01-11"}
    assert refused(analysed, ConfigError, exposure=timed).problem == "exposure.time is not a time"


def test_a_number_is_no_proportion(client: Client, analysed: Analysed) -> None:
    client.run(ROWS)
    error = refused(analysed, DataError, metrics=[metric("orders", "proportion")])
    assert error.problem == "orders is not a proportion"
    assert error.found == "133 units with values other than 0 and 1"


def test_units_of_several_arms_where_the_config_refuses_them(client: Client, analysed: Analysed) -> None:
    client.run(ROWS.replace("numbers(400)", "numbers(600)").replace("number AS user_id", "number % 401 AS user_id"))
    result = analysed()
    assert (result.units, result.warnings) == (202, ("199 units have rows of several arms and are left out",))
    assert refused(analysed, DataError, crossovers="refuse").found == "199 units"


def test_several_rows_where_the_config_promises_one(client: Client, analysed: Analysed) -> None:
    client.run(ROWS.replace("numbers(400)", "numbers(20000)").replace("number AS user_id", "number % 16000 AS user_id"))
    error = refused(analysed, DataError, rows="one")
    assert error.problem == "The table has several rows per unit"


@pytest.mark.parametrize("day", [date(2026, 1, 10), date(2026, 2, 1)])
def test_a_last_day_outside_the_experiment(client: Client, analysed: Analysed, day: date) -> None:
    client.run(ROWS)
    exposure = {"time": "day", "since": "2026-01-11"}
    with pytest.raises(UsageError, match="--until is outside the experiment"):
        analysed(until=day, exposure=exposure)
    with pytest.raises(UsageError, match="has no days to choose from"):
        analysed(until=day)
