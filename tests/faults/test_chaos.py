"""Test that the chaos tool counts what it looks for, and that its plans can be repeated."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.faults.actors import awaited
from tests.faults.chaos_judge import ZEROS, Reader, Tally, compare
from tests.faults.chaos_plans import drawn
from tests.faults.few import DAY, Night
from tests.faults.small import USERS

ROUND = ("--seed", "4", "--rounds", "1", "--ray", "0", "--targets", "raypipe")
SYNC = {"mutations_sync": 1}
VIEW = "raypipe_current_predictions"
WRONGS = {
    "ALTER TABLE customer_churn_predictions DELETE WHERE user_id = 'u7'": "lost",
    "INSERT INTO ml_model_predictions SELECT * FROM ml_model_predictions WHERE entity_id = 'u7'": "doubled",
    "INSERT INTO ml_model_predictions SELECT * REPLACE ('nobody' AS entity_id) FROM ml_model_predictions LIMIT 1": (
        "of nobody"
    ),
    "ALTER TABLE customer_churn_predictions UPDATE total_sessions = 1007 WHERE user_id = 'u7'": "mixed",
    "ALTER TABLE customer_churn_predictions UPDATE churn_probability = 2 WHERE user_id = 'u7'": "mixed",
}


@pytest.mark.fast
@pytest.mark.parametrize(("sql", "kind"), WRONGS.items())
def test_the_judge_counts_each_kind_of_wrong_row(daily: Night, sql: str, kind: str) -> None:
    daily.score()
    tally = Tally()
    compare(daily.client, tally, DAY, 0, "before")
    assert (tally.rows, dict(tally.wrong)) == (4 * USERS, {})
    daily.client.run(sql, settings=SYNC)
    compare(daily.client, tally, DAY, 0, "after")
    assert tally.wrong[kind] > 0
    assert set(tally.wrong) <= set(ZEROS)


@pytest.mark.fast
def test_rows_of_an_earlier_state_of_the_source_are_mixed(daily: Night) -> None:
    daily.score()
    tally = Tally()
    compare(daily.client, tally, DAY, 1, "after the source was computed anew")
    # In the domain table and in its view.
    assert tally.wrong == {"mixed": 2 * USERS}


@pytest.mark.fast
def test_a_reader_sees_a_view_that_is_not_whole(daily: Night) -> None:
    daily.score()
    reader = Reader(daily.publisher.endpoint, VIEW, [DAY], USERS)
    reader.start()
    awaited(lambda: reader.reads, "a read")
    assert not reader.wrong
    daily.client.run("ALTER TABLE ml_model_predictions DELETE WHERE entity_id = 'u7'", settings=SYNC)
    awaited(lambda: reader.wrong, "a wrong read")
    tally = Tally()
    reader.report(tally)
    assert tally.wrong["wrong reads"] > 0


@pytest.mark.fast
def test_a_round_follows_from_seed_and_number_alone() -> None:
    rounds = [str(drawn(1, number, 0.1)) for number in range(1, 20)]
    assert rounds[::-1] == [str(drawn(1, number, 0.1)) for number in range(19, 0, -1)]
    assert len(set(rounds)) == len(rounds)
    assert str(drawn(2, 1, 0.1)) not in rounds


def chaos(*options: str) -> tuple[int, dict[str, int]]:
    """Run the tool, and return its exit code and the numbers that have to be 0."""
    command = [sys.executable, "-m", "tests.faults.chaos", *ROUND, *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    numbers = re.findall(rf"({'|'.join(ZEROS)}) (\d+)", ended.stdout.splitlines()[0].partition("unanswered)")[2])
    return ended.returncode, {kind: int(number) for kind, number in numbers}


def test_a_round_of_chaos_ends_with_zeros() -> None:
    assert chaos() == (0, dict.fromkeys(ZEROS, 0))


def test_without_the_copies_of_committed_rows_a_round_of_chaos_ends_with_1() -> None:
    code, numbers = chaos("--without", "keep")
    assert code == 1
    assert numbers["wrong reads"] > 0
