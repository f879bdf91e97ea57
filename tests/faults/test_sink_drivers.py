"""Test programs that write through `raypipe.ClickHouseSink` and are killed anywhere, then written again.

Each fault has a negative control, which switches the guard off and sees the damage.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from raypipe.clickhouse import lock_ledger
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema import leftovers
from raypipe.dataset import journal, recovery
from tests.faults.actors import PATIENCE, awaited
from tests.faults.oracle import own_tables
from tests.faults.proxy import Proxy, Rule
from tests.faults.sinks import (
    ENTRY,
    INSERT,
    MOVE,
    ROWS,
    RUN,
    TARGET,
    assert_whole,
    expected,
    kill_at,
    parts,
    sink,
    status,
    write,
    writing,
    written,
)

# One of each kind.
FAST = ("a staged chunk", "behind the first move", "behind the entry PUBLISHED", "every part")

STAGING = b"CREATE TABLE `raypipe_staging_"
DROP = b"DROP TABLE IF EXISTS `raypipe_twin_"
LOCK = b"DROP TABLE IF EXISTS `raypipe_lock_"

BEFORE = {
    "the first entry": Rule(ENTRY, "hold_cut"),
    "a staging table": Rule(STAGING, "hold_cut", skip=1),
    "a staged chunk": Rule(INSERT, "hold_cut", skip=1),
    "behind a staged chunk": Rule(INSERT, "hold_answer", skip=1),
    "the twin": Rule(b"CREATE TABLE `raypipe_twin_", "hold_cut"),
    "collecting": Rule(b"TO TABLE `raypipe_twin_", "hold_cut", skip=3),
    "the entry PUBLISHING": Rule(ENTRY, "hold_cut", skip=1),
}
WITHIN = {
    "behind the entry PUBLISHING": (Rule(ENTRY, "hold_answer", skip=1), 0),
    "before the first move": (Rule(MOVE, "hold_cut"), 0),
    "behind the first move": (Rule(MOVE, "hold_answer"), 1),
    "before the second move": (Rule(MOVE, "hold_cut", skip=1), 1),
    "behind the second move": (Rule(MOVE, "hold_answer", skip=1), 2),
    "before the entry PUBLISHED": (Rule(ENTRY, "hold_cut", skip=2), 2),
}
BEHIND = {
    "behind the entry PUBLISHED": Rule(ENTRY, "hold_answer", skip=2),
    "before the twin is dropped": Rule(DROP, "hold_cut"),
    "before the lock is dropped": Rule(LOCK, "hold_cut"),
}


def some_fast(moments: Iterable[str]) -> list[Any]:
    """Return the moments, with the mark `fast` on some."""
    return [pytest.param(moment, marks=pytest.mark.fast if moment in FAST else ()) for moment in moments]


def killed_at(target: Client, proxy: Proxy, rule: Rule) -> Rule:
    """Kill a program that writes the run at a request."""
    rule = proxy.add(Rule(rule.pattern, rule.action, skip=rule.skip))
    with writing(replace(target.endpoint, url=proxy.url)) as process:
        kill_at(process, rule)
    return rule


@pytest.mark.parametrize("moment", some_fast(BEFORE))
def test_a_program_killed_before_it_publishes_adds_nothing_and_is_begun_again(
    target: Client, proxy: Proxy, moment: str
) -> None:
    rule = killed_at(target, proxy, BEFORE[moment])
    assert not written(target)
    write(sink(target))
    assert_whole(target)
    if rule.action == "hold_cut":
        arrive(target, rule)
        assert written(target) == expected()
        # A table that the dead program's last request has made belongs to a published run.
        leftovers.clean(target)
        assert own_tables(target) == []


def arrive(client: Client, rule: Rule) -> None:
    """Send the held request of a dead program to the server, and wait for the answer."""
    place = urlsplit(client.endpoint.url)
    with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as connection:
        connection.sendall(rule.hits[0])
        assert connection.recv(100).startswith(b"HTTP/1.1")


@pytest.mark.parametrize("moment", some_fast(WITHIN))
def test_a_program_killed_while_it_publishes_is_finished_by_the_next(target: Client, proxy: Proxy, moment: str) -> None:
    rule, moved = WITHIN[moment]
    killed_at(target, proxy, rule)
    # Each partition is there whole, or not at all.
    assert sum(written(target).values()) == moved * ROWS // 2
    assert status(target) == journal.PUBLISHING
    write(sink(target))
    assert_whole(target)
    assert status(target) == journal.PUBLISHED


@pytest.mark.parametrize("moment", some_fast(BEHIND))
def test_a_program_killed_behind_its_commit_has_written_its_run(target: Client, proxy: Proxy, moment: str) -> None:
    killed_at(target, proxy, BEHIND[moment])
    assert written(target) == expected()
    assert status(target) == journal.PUBLISHED
    write(sink(target))
    assert_whole(target)


@pytest.mark.parametrize("moment", some_fast(["behind the first move", "behind the second move"]))
def test_without_recovery_a_run_that_is_written_again_is_there_twice(
    target: Client, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    rule, moved = WITHIN[moment]
    killed_at(target, proxy, rule)
    monkeypatch.setattr(recovery, "recover", lambda *given: None)
    write(sink(target))
    assert sum(written(target).values()) == ROWS + moved * ROWS // 2


@pytest.mark.fast
def test_a_move_that_arrives_after_its_program_died_finds_no_table(target: Client, proxy: Proxy) -> None:
    rule = killed_at(target, proxy, WITHIN["before the first move"][0])
    late_move(target, proxy, rule)
    assert_whole(target)


@pytest.mark.fast
def test_without_new_names_a_late_move_adds_the_rows_twice(
    target: Client, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same_names(client: Client, write_id: str, epoch: int) -> dict[str, str]:
        return {name: name for name in recovery._tables(client, f"^raypipe_twin_{write_id}_e")}

    rule = killed_at(target, proxy, WITHIN["before the first move"][0])
    monkeypatch.setattr(recovery, "_fence", same_names)
    late_move(target, proxy, rule)
    assert sum(written(target).values()) == ROWS + ROWS // 2


def late_move(target: Client, proxy: Proxy, late: Rule) -> None:
    """Write the run again, and let the dead program's move arrive when the twin was looked at, before it is dropped."""
    drop = proxy.add(Rule(DROP, "hold"))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(write, sink(target, through=proxy))
        awaited(lambda: drop.hit.is_set() or running.done(), "the drop of the dead program's twin")
        arrive(target, late)
        drop.released.set()
        running.result()


# A server that ends in the middle of a move has parts of a partition both in the twin and in the target.


@pytest.mark.parametrize("copied", some_fast(["some parts", "every part", "merged with another run's"]))
def test_a_server_that_ended_while_it_moved_rows_adds_no_row_twice(target: Client, proxy: Proxy, copied: str) -> None:
    ended_in_a_move(target, proxy, copied)
    write(sink(target))
    others = "another" * (copied == "merged with another run's")
    assert written(target, f"(SELECT id FROM {TARGET} WHERE score >= 0)") == expected()
    assert bool(others) == bool(target.value(f"SELECT count() FROM {TARGET} WHERE score < 0"))
    assert own_tables(target) == []


def test_without_a_look_for_arrived_rows_a_server_that_ended_adds_them_twice(
    target: Client, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_in_a_move(target, proxy, "every part")
    monkeypatch.setattr(recovery, "_drop_arrived", lambda *given: None)
    write(sink(target))
    assert sum(written(target).values()) > ROWS


def ended_in_a_move(target: Client, proxy: Proxy, copied: str) -> None:
    """Make the state in which a server leaves target and twin that is killed while it moves the first partition."""
    killed_at(target, proxy, WITHIN["before the first move"][0])
    entry = journal.find(target, journal.identity(TARGET, RUN))
    assert entry is not None
    first = next(iter(entry.blocks))
    assert len(parts(target, entry.twin, first)) > 1
    target.run(f"ALTER TABLE {TARGET} ATTACH PARTITION ID '{first}' FROM {entry.twin}")
    if copied == "some parts":
        there = parts(target, TARGET, first)[0]
        target.run(f"ALTER TABLE {TARGET} DROP PART '{there}'")
    if copied == "merged with another run's":
        target.run(f"INSERT INTO {TARGET} SELECT number, toDate(20000), -1 FROM numbers(10)")
        target.run(f"OPTIMIZE TABLE {TARGET} FINAL")
    journal.save(target, entry, entry.version >> lock_ledger.STEP_BITS, server_started="2020-01-01 00:00:00")
