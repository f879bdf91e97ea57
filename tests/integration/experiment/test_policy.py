"""Evaluate policies on logged actions: simulated logs whose value is known, and logs that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, DataError
from raypipe.experiment.result import BETTER

# Two contexts and three actions; the logging policy prefers the worst action.
LOG = """
CREATE TABLE actions ENGINE = MergeTree ORDER BY tuple() AS
SELECT
    number AS user_id,
    number % 2 ? 'mobile' : 'desktop' AS device,
    sipHash64(number, 'action') % 100 AS draw,
    multiIf(draw < 60, 'worst', draw < 90, 'middle', 'best') AS action,
    multiIf(draw < 60, 0.6, draw < 90, 0.3, 0.1) AS propensity,
    if(device = 'mobile', 0.1, 0.2) * multiIf(action = 'worst', 1, action = 'middle', 2, 3) AS chance,
    sipHash64(number, 'reward') % 1000 < 1000 * chance AS reward
FROM numbers(100000)
"""
SHARES = [{"name": "worst", "share": 0.1}, {"name": "middle", "share": 0.2}, {"name": "best", "share": 0.7}]
# By device half of the actions each: the mean chance of an action is 0.15 times 1, 2 or 3.
KNOWN = 0.15 * (0.1 * 1 + 0.2 * 2 + 0.7 * 3)
LOGGED = 0.15 * (0.6 * 1 + 0.3 * 2 + 0.1 * 3)
POLICY = {"context": ["device"], "action": "action", "propensity": "propensity", "reward": "reward", "resamples": 300}


@pytest.fixture
def evaluated(analysed: Callable[..., Any]) -> Callable[..., Any]:
    """Evaluate a policy on the table `actions`."""

    def run(where: str | None = None, **policy: Any) -> Any:
        stated = policy if {"shares", "table"} & policy.keys() else {**policy, "shares": SHARES}
        known = {"table": "actions", "arm": None, "arms": None, "metrics": None, "where": where}
        return analysed(**known, policy={**POLICY, **stated})

    return run


def test_all_estimates_hold_the_known_value_of_the_policy(client: Client, evaluated: Callable[..., Any]) -> None:
    client.run(LOG)
    result = evaluated()
    for estimate in (result.value.ips, result.value.snips, result.value.robust):
        assert estimate.value == pytest.approx(KNOWN, rel=0.03)
        assert estimate.low < KNOWN < estimate.high
    assert result.value.logging.value == pytest.approx(LOGGED, rel=0.03)
    assert (result.verdict, result.contexts, result.actions) == (BETTER, 2, 3)


def test_the_doubly_robust_estimate_is_right_with_wrong_propensities_and_ips_is_not(
    client: Client, evaluated: Callable[..., Any]
) -> None:
    client.run(LOG)
    wrong = evaluated(propensity="propensity * (action = 'best' ? 2 : 1)")
    assert wrong.value.robust.value == pytest.approx(KNOWN, rel=0.03)
    assert wrong.value.ips.value < 0.75 * KNOWN


def test_a_policy_may_be_a_table_with_other_shares_in_each_context(
    client: Client, evaluated: Callable[..., Any]
) -> None:
    client.run(LOG)
    client.run(
        "CREATE TABLE chosen ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM VALUES("
        "'device String, action String, share Float64', ('mobile', 'best', 1), ('desktop', 'worst', 1))"
    )
    result = evaluated(table="chosen")
    assert result.value.snips.value == pytest.approx((0.3 + 0.2) / 2, rel=0.05)
    client.run("INSERT INTO chosen VALUES ('mobile', 'middle', 0.5)")
    with pytest.raises(ConfigError, match="are no probabilities in the context 'mobile'"):
        evaluated(table="chosen")


def test_a_floor_keeps_some_of_each_action_and_a_uniform_floor_is_refused(
    client: Client, evaluated: Callable[..., Any]
) -> None:
    client.run(LOG)
    raised = 0.15 * sum(weight * (0.1 + 0.7 * share) for weight, share in ((1, 0.1), (2, 0.2), (3, 0.7)))
    assert evaluated(floor=0.1).value.snips.value == pytest.approx(raised, rel=0.03)
    with pytest.raises(ConfigError, match="makes the policy uniform") as refusal:
        evaluated(floor=0.34)
    assert refusal.value.found == "a floor of 0.34 for each of 3 arms, in the context 'desktop'"


def test_actions_that_were_never_logged_and_few_effective_actions_are_named(
    client: Client, evaluated: Callable[..., Any]
) -> None:
    client.run(LOG)
    result = evaluated(where="user_id < 150", shares=[{"name": "best", "share": 0.5}, {"name": "new", "share": 0.5}])
    assert any("never logged" in text for text in result.warnings)
    assert any("effective actions" in text for text in result.warnings)


@pytest.mark.parametrize("change", [{"propensity": "propensity - 0.1"}, {"propensity": "1.5"}, {"reward": "0 / 0"}])
def test_actions_without_a_propensity_or_a_reward_are_refused(
    client: Client, evaluated: Callable[..., Any], change: dict[str, str]
) -> None:
    client.run(LOG)
    with pytest.raises(DataError, match="Logged actions cannot be weighed") as refusal:
        evaluated(**change)
    assert " of 100,000 rows lack" in str(refusal.value.found)


def test_a_log_without_rows_and_an_unknown_column_are_refused(client: Client, evaluated: Callable[..., Any]) -> None:
    client.run(LOG)
    with pytest.raises(DataError, match="no logged actions"):
        evaluated(where="user_id < 0")
    with pytest.raises(ConfigError, match=r"policy\.reward cannot be read"):
        evaluated(reward="rewrd")
