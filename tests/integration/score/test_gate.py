"""Test that the gate refuses every difference between staged rows and population, and names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from raypipe.artifact.contract import key_hash
from raypipe.clickhouse.client import Client
from raypipe.data import pin
from raypipe.errors import GateRefused, ServerError
from raypipe.score import gate
from raypipe.score.gate import GateCounts
from tests.integration.conftest import FEATURES

Make = Callable[..., Any]


def test_a_population_that_is_staged_whole_passes(scoring: Make) -> None:
    run = scoring()
    assert gate.check(run.client, run.manifest, run.staged()) == GateCounts(staged=10, rejected=0)


def test_rejected_rows_within_the_limit_pass_and_are_counted(scoring: Make) -> None:
    run = scoring(max_rejected=0.2)
    written = [run.stage(0, attempt=1, rejected=2), run.stage(1, attempt=2)]
    assert gate.check(run.client, run.manifest, written) == GateCounts(staged=8, rejected=2)


def test_rows_of_attempts_that_died_are_not_counted(scoring: Make) -> None:
    run = scoring()
    run.stage(0, attempt=99)
    assert gate.check(run.client, run.manifest, run.staged()) == GateCounts(staged=10, rejected=0)


def refused(run: Any, written: list[Any], match: str) -> str:
    with pytest.raises(GateRefused, match=match) as found:
        gate.check(run.client, run.manifest, written)
    assert run.manifest.run_id in str(found.value)
    return str(found.value)


def test_a_missing_slice_is_refused_by_its_number(scoring: Make) -> None:
    run = scoring()
    first, _ = run.staged()
    assert "1 of 2: [1]" in refused(run, [first], "slices are missing")


def test_staged_rows_that_are_gone_are_refused(scoring: Make) -> None:
    run = scoring()
    written = run.staged()
    run.client.run(f"DELETE FROM {run.manifest.staging} WHERE user_id = 'u3'")
    assert "raypipe resume" in refused(run, written, "staging and ledger disagree")


@pytest.mark.versions
@pytest.mark.parametrize("score", ["nan", "1.01", "-0.01"])
def test_a_staged_score_outside_its_range_is_refused(scoring: Make, score: str) -> None:
    run = scoring(score_range=(0.0, 1.0))
    written = run.staged()
    gate.check(run.client, run.manifest, written)
    update = f"ALTER TABLE {run.manifest.staging} UPDATE score = {score} WHERE user_id = 'u3'"
    run.client.run(update, settings={"mutations_sync": 2})
    assert "1 staged scores are outside" in refused(run, written, "outside the range of their kind")


@pytest.mark.versions
def test_a_chunk_that_was_applied_twice_is_refused(scoring: Make) -> None:
    run = scoring()
    written = run.staged()
    run.insert(1, run.users(1), attempt=12, chunk=0, token="forgotten")
    refused(run, written, "staging and ledger disagree")


def test_a_chunk_that_is_missing_is_refused_even_when_another_makes_up_the_rows(scoring: Make) -> None:
    run = scoring()
    first, second = run.staged()
    refused(run, [replace(first, chunks=3), second], "staging and ledger disagree")


def test_staged_keys_that_are_not_those_read_are_refused(scoring: Make) -> None:
    run = scoring()
    first, second = run.staged()
    run.client.run(
        f"ALTER TABLE {run.manifest.staging} UPDATE user_id = 'other' WHERE user_id = 'u7' SETTINGS mutations_sync = 2"
    )
    refused(run, [first, second], "staging and ledger disagree")


def test_rows_that_are_neither_staged_nor_rejected_are_refused(scoring: Make) -> None:
    run = scoring()
    first = run.stage(0, attempt=1, rejected=1)
    assert "4 staged, 0 rejected" in refused(
        run, [replace(first, rows_rejected=0), run.stage(1, attempt=2)], "neither staged nor rejected"
    )


def test_a_source_that_had_another_count_when_it_was_read_is_refused(scoring: Make) -> None:
    run = scoring()
    written = [run.stage(0, ["u0", "u1", "u2", "u3"], attempt=1), run.stage(1, attempt=2)]
    assert "9 rows" in refused(run, written, "the source changed between")


def test_a_source_that_had_other_keys_when_it_was_read_is_refused(scoring: Make) -> None:
    run = scoring()
    written = [run.stage(0, ["u0", "u1", "u2", "u3", "new"], attempt=1), run.stage(1, attempt=2)]
    assert "source.snapshot: true" in refused(run, written, "the source changed between")


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO people VALUES ('2026-01-31', 'c', 'b', 'late', 1)",
        "DELETE FROM people WHERE day = '2026-01-31' AND user_id = 'u3'",
    ],
)
def test_a_source_that_changed_after_it_was_read_is_refused(scoring: Make, change: str) -> None:
    run = scoring()
    written = run.staged()
    run.client.run(change)
    refused(run, written, "the source changed while it was scored")


def test_a_source_with_other_values_and_the_same_keys_is_refused(scoring: Make) -> None:
    run = scoring()
    people = pin.take(run.client, FEATURES, {"date": run.manifest.date}, "people", {"day": run.manifest.date}, "a file")
    run = run.with_manifest(pinned=people)
    written = run.staged()
    run.client.run("ALTER TABLE people UPDATE sessions = 99 WHERE user_id = 'u3' SETTINGS mutations_sync = 2")
    assert "people was updated" in refused(run, written, "the source changed while the run read it")


def test_another_day_of_the_source_may_change(scoring: Make) -> None:
    run = scoring()
    written = run.staged()
    run.client.run("INSERT INTO people VALUES ('2026-02-01', 'c', 'b', 'late', 1)")
    assert gate.check(run.client, run.manifest, written).staged == 10


def test_more_rejected_rows_than_allowed_are_refused_with_where_to_look(scoring: Make) -> None:
    run = scoring(max_rejected=0.1)
    written = [run.stage(0, attempt=1, rejected=2), run.stage(1, attempt=2)]
    text = refused(run, written, "too many rows could not be scored")
    assert "2 of 10 rows" in text
    assert "raypipe_counted_rejections" in text


def test_exactly_as_many_rejected_rows_as_allowed_pass(scoring: Make) -> None:
    run = scoring(max_rejected=0.1)
    written = [run.stage(0, attempt=1, rejected=1), run.stage(1, attempt=2)]
    assert gate.check(run.client, run.manifest, written).rejected == 1


def test_an_empty_population_is_refused(scoring: Make, client: Client) -> None:
    client.run("TRUNCATE TABLE people")
    run = scoring()
    assert (run.manifest.source_rows, run.manifest.source_checksum) == (0, 0)
    refused(run, [run.stage(0, [], attempt=1, chunks=0), run.stage(1, [], attempt=2, chunks=0)], "population is empty")


def doubled(scoring: Make, client: Client, **changes: Any) -> Any:
    """A run whose features query yields u3 twice; both rows are staged."""
    client.run("INSERT INTO people VALUES ('2026-01-31', 'c', 'b', 'u3', 77)")
    return scoring(**changes)


def test_an_entity_that_stands_twice_is_refused_by_its_key(scoring: Make, client: Client) -> None:
    run = doubled(scoring, client)
    assert run.manifest.source_rows == 11
    text = refused(run, run.staged(), "more than once")
    assert "1 of 11 rows" in text
    assert "('c', 'b', 'u3')" in text


def test_keep_one_passes_an_entity_that_stands_twice_and_counts_it_once(scoring: Make, client: Client) -> None:
    run = doubled(scoring, client, duplicates="keep_one")
    assert gate.check(run.client, run.manifest, run.staged()) == GateCounts(staged=10, rejected=0)


def test_a_count_that_cannot_be_made_is_an_error_and_not_a_pass(scoring: Make, client: Client) -> None:
    run = scoring()
    written = run.staged()
    client.run("DROP TABLE people")
    with pytest.raises(ServerError):
        gate.check(run.client, run.manifest, written)


def test_the_population_counts_rows_with_a_null_in_the_key_without_their_hash(client: Client) -> None:
    client.run("CREATE TABLE t (k Nullable(UInt64)) ENGINE = Memory")
    client.run("INSERT INTO t VALUES (1), (NULL), (2)")
    select = f"SELECT k, {key_hash(['k'])} AS key_hash FROM t WHERE {{slice}}"
    known = client.value(f"SELECT sum({key_hash(['k'])}) FROM t WHERE k IS NOT NULL")
    population = gate.population(client, select, {})
    assert (population.rows, population.checksum) == (3, known)


def test_the_checksum_does_not_depend_on_the_order_and_wraps(client: Client) -> None:
    select = "SELECT {key:UInt64} + number AS key_hash FROM numbers(4) WHERE {slice}"
    population = gate.population(client, select, {"key": 2**64 - 10})
    assert (population.rows, population.checksum) == (4, (4 * (2**64 - 10) + 6) % 2**64)
