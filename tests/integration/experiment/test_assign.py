"""Assign units: the same function in Python and SQL, equal arms, exposures that are only added."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.experiment import Arm
from raypipe.config.load_experiment import LoadedExperiment
from raypipe.errors import DataError, UsageError
from raypipe.experiment import inference
from raypipe.experiment.abtest import abtest, source_of
from raypipe.experiment.assign import Assigned, assign
from raypipe.experiment.assignment import arm_of, arm_sql
from raypipe.progress import silent
from tests.integration.experiment.conftest import NOW

ARMS = [Arm(name="a", share=0.2), Arm(name="b'\\", share=0.3), Arm(name="c", share=0.5)]
SALTED = {"arm": None, "salt": "headline-2026"}
READERS = "CREATE TABLE visits ENGINE = MergeTree ORDER BY tuple() AS SELECT number % 1000 AS user_id, 1.5 AS orders"


def test_a_million_keys_have_the_planned_shares(client: Client) -> None:
    sql = f"SELECT {arm_sql(['number'], 'salt', ARMS)} AS arm, count() FROM numbers(1000000) GROUP BY arm"
    counts = dict(client.rows(sql))
    assert sum(counts.values()) == 1_000_000
    assert inference.sample_ratio([counts[arm.name] for arm in ARMS], [0.2, 0.3, 0.5], every_look=False) > 0.01


def test_python_and_sql_give_every_key_the_same_arm(client: Client) -> None:
    expression = arm_sql(["brand", "id"], "sält", ARMS)
    rows = client.rows(f"SELECT char(97 + number % 3) || 'é' AS brand, number AS id, {expression} FROM numbers(5000)")
    assert all(arm_of((brand, number), "sält", ARMS) == arm for brand, number, arm in rows)


def test_another_salt_assigns_independently(client: Client) -> None:
    one, other = (arm_sql(["number"], salt, ARMS) for salt in ("one", "other"))
    share = client.value(f"SELECT countIf({one} = {other}) / count() FROM numbers(100000)")
    assert share == pytest.approx(0.2**2 + 0.3**2 + 0.5**2, abs=0.01)


def assigned(client: Client, loaded: LoadedExperiment, now: datetime = NOW) -> Assigned:
    return assign(client, loaded, source_of(client, loaded), now, silent)


def test_each_unit_is_exposed_once_and_new_units_later(client: Client, experiment: Callable[..., Any]) -> None:
    migrate(client)
    client.run(f"{READERS} FROM numbers(3000)")
    loaded = experiment(**SALTED)
    assert assigned(client, loaded).added == 1000
    client.run("INSERT INTO visits SELECT number, 1.5 FROM numbers(900, 300)")
    later = assigned(client, loaded, NOW + timedelta(days=1))
    assert (later.added, sum(later.units.values())) == (200, 1200)
    days = "SELECT toString(toDate(exposed_at)), count(), uniqExact(unit) FROM raypipe_exposures GROUP BY 1 ORDER BY 1"
    assert client.rows(days) == [("2026-02-01", 1000, 1000), ("2026-02-02", 200, 200)]
    ((unit, arm, salt),) = client.rows("SELECT unit, arm, salt FROM raypipe_exposures LIMIT 1")
    assert arm_of(unit, "headline-2026", loaded.config.arms) == arm
    assert salt == "headline-2026"


def test_a_changed_salt_or_share_is_refused_once_units_are_exposed(
    client: Client, experiment: Callable[..., Any]
) -> None:
    migrate(client)
    client.run(f"{READERS} FROM numbers(100)")
    assigned(client, experiment(**SALTED))
    other = [{"name": "control", "share": 0.9}, {"name": "treatment", "share": 0.1}]
    for change in ({"salt": "another"}, {"arms": other}):
        with pytest.raises(UsageError, match="another salt or other shares"):
            assigned(client, experiment(**{**SALTED, **change}))
    assert assigned(client, experiment(**SALTED)).added == 0


def test_an_experiment_without_salt_or_units_is_refused(client: Client, experiment: Callable[..., Any]) -> None:
    migrate(client)
    client.run(f"{READERS} FROM numbers(100)")
    with pytest.raises(UsageError, match="takes the arm from a column"):
        assigned(client, experiment())
    with pytest.raises(DataError, match="no unit to assign"):
        assigned(client, experiment(**SALTED, where="user_id > 10000"))


def test_exposed_units_are_analysed_alone_by_the_documented_join(
    client: Client, experiment: Callable[..., Any], tmp_path: Path
) -> None:
    migrate(client)
    page = (Path(__file__).parents[3] / "docs" / "experiments.md").read_text(encoding="utf-8")
    (tmp_path / "sql" / "experiments").mkdir(parents=True)
    (tmp_path / "sql" / "experiments" / "headline.sql").write_text(page.split("```sql\n")[1].split("```")[0])
    rows = "toString(number % 1000) AS user_id, toDate('2026-01-15') + intDiv(number, 1000) AS visited_at, 1 AS orders"
    client.run(f"CREATE TABLE headline_visits ENGINE = MergeTree ORDER BY user_id AS SELECT {rows} FROM numbers(30000)")
    client.run(
        "CREATE TABLE readers ENGINE = MergeTree ORDER BY user_id AS SELECT DISTINCT user_id FROM headline_visits"
        " WHERE toUInt32(user_id) < 600"
    )
    loaded = experiment(**SALTED, table=None, sql="experiments/headline.sql", population="readers")
    exposed = assign(client, loaded, source_of(client, loaded, loaded.config.population), NOW, silent)
    result = abtest(client, loaded, None, NOW, silent, save=False)
    assert {arm.arm: arm.units for arm in result.arms} == exposed.units  # type: ignore[union-attr]
    # Visits from 1 February on, the day of the exposure: midnight of that day is before noon.
    assert result.metrics[0].comparisons[0].control_value == 12  # type: ignore[union-attr]


def test_an_experiment_with_a_salt_is_analysed_by_the_arms_that_assign_gives(
    client: Client, experiment: Callable[..., Any]
) -> None:
    migrate(client)
    client.run(f"{READERS} FROM numbers(3000)")
    loaded = experiment(**SALTED)
    exposed = assigned(client, loaded)
    result = abtest(client, loaded, None, datetime.now(UTC), silent, save=False)
    assert {arm.arm: arm.units for arm in result.arms} == exposed.units  # type: ignore[union-attr]
