"""Test targets that change after the plan, and partitions with rows of others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, ServerError
from raypipe.score import publish, runs
from tests.faults.nights import (
    DAY,
    TARGETS,
    Night,
    older,
    once,
    saved_by_hand,
)
from tests.faults.oracle import assert_exact

pytestmark = pytest.mark.usefixtures("impatient")


def just_before(patch: pytest.MonkeyPatch, pattern: str, act: Callable[[], object]) -> None:
    """Do something just before the first matching statement is sent."""
    real, due = Client.run, once(act)

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if re.search(pattern, sql):
            due()
        real(self, sql, *arguments, **options)

    patch.setattr(Client, "run", run)


def test_a_column_dropped_from_a_target_stops_the_run_before_any_target_changes(night: Night) -> None:
    night.score()
    before, manifest = night.content(), night.plan()
    night.client.run(f"ALTER TABLE {TARGETS[1]} DROP COLUMN metadata")
    with pytest.raises(ConfigError, match="columns that the table does not have"):
        night.run(manifest)
    assert night.status(manifest) == runs.FAILED
    assert night.content()[TARGETS[0]] == before[TARGETS[0]]
    night.client.run(f"ALTER TABLE {TARGETS[1]} ADD COLUMN metadata String AFTER batch_id")
    night.assert_exact(night.resume(manifest))


def test_a_column_added_to_a_target_after_the_plan_gets_its_default(night: Night) -> None:
    manifest = night.plan()
    night.client.run(f"ALTER TABLE {TARGETS[1]} ADD COLUMN remark String DEFAULT 'none' FIRST")
    night.assert_exact(night.run(manifest))
    assert night.client.rows(f"SELECT DISTINCT remark FROM {TARGETS[1]}") == [("none",)]


def test_a_target_altered_in_the_last_moment_refuses_the_swap_and_a_resume_makes_a_new_twin(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.score()
    before, manifest = night.content()[TARGETS[1]], night.plan()
    alter_at_the_swap(monkeypatch, night)
    with pytest.raises(ServerError):
        night.run(manifest)
    sql = f"SELECT count(), groupBitXor(cityHash64(* EXCEPT remark)) FROM {TARGETS[1]}"
    assert night.client.rows(sql) == [before]
    night.assert_exact(night.resume(manifest))


def alter_at_the_swap(patch: pytest.MonkeyPatch, night: Night) -> None:
    just_before(
        patch,
        rf"ALTER TABLE `{TARGETS[1]}` REPLACE",
        lambda: night.client.run(f"ALTER TABLE {TARGETS[1]} ADD COLUMN remark String"),
    )


def test_without_a_new_twin_a_resume_never_gets_past_an_altered_target(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    with monkeypatch.context() as patch:
        alter_at_the_swap(patch, night)
        with pytest.raises(ServerError):
            night.run(manifest)
    real = Client.run

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if "raypipe_twin_" not in sql or not re.match("DROP|CREATE|INSERT", sql):
            real(self, sql, *arguments, **options)

    monkeypatch.setattr(Client, "run", run)
    with pytest.raises(ServerError):
        night.resume(manifest)


def make_monthly(night: Night) -> None:
    """Give the predictions monthly partitions and another writer's row of the same month."""
    table, client = TARGETS[1], night.client
    ddl = str(client.value(f"SHOW CREATE TABLE {table}"))
    client.run(f"RENAME TABLE {table} TO before_this")
    client.run(ddl.replace("PARTITION BY (prediction_type, prediction_date)", "PARTITION BY toYYYYMM(predicted_at)"))
    client.run(f"INSERT INTO {table} SELECT * FROM before_this")
    client.run(f"INSERT INTO {table} (prediction_id, prediction_type) VALUES ('theirs', 'other')")
    client.run("DROP TABLE before_this SYNC")
    assert "toYYYYMM(predicted_at)" in client.value(f"SHOW CREATE TABLE {table}")


THEIRS = f"SELECT count() FROM {TARGETS[1]} WHERE prediction_id = 'theirs'"


def test_another_partition_key_of_a_target_after_the_plan_is_heeded(night: Night) -> None:
    night.score()
    manifest = night.plan()
    make_monthly(night)
    assert_exact(night.client, DAY, night.run(manifest))
    assert night.client.value(THEIRS) == 1


def test_without_looking_at_the_partition_key_again_rows_of_others_are_lost(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    make_monthly(night)
    monkeypatch.setattr(publish, "method", lambda _: "replace")
    monkeypatch.setattr(publish, "others", lambda *_: "")
    night.run(manifest)
    assert night.client.value(THEIRS) == 0


@pytest.mark.parametrize("looks", [True, False], ids=["as_it_is", "without_looking_whose_rows_are_in_the_partition"])
def test_the_rows_of_others_in_a_partition_that_a_run_would_replace_stay(
    night: Night, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    first = older(night.plan())
    night.run(first)
    saved_by_hand(night)
    if not looks:
        monkeypatch.setattr(publish, "others", lambda *_: "")
    second = night.plan()
    night.run(second)
    assert night.client.value(THEIRS) == int(looks)
    assert night.status(first) == runs.SUPERSEDED
    night.client.run(f"DELETE FROM {TARGETS[1]} WHERE prediction_id = 'theirs'")
    night.assert_exact(second.run_id)
