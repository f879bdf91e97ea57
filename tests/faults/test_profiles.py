"""Test runs of users whose profiles change answers in silence: they publish all of the population, or an error."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest

from raypipe.clickhouse import lock, pins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.demo import build
from raypipe.errors import Busy, ConfigError, RaypipeError, ServerError
from raypipe.features import snapshots
from tests.conftest import FittedPublisher, _shrink_granules
from tests.faults.few import before_sending
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, planned
from tests.faults.servers import FEATURES, TESTER, configured, user
from tests.faults.small import DAY, small_publisher

USERS = 3000
LAST = date(2026, 1, 31)
Settings = Mapping[str, object]
# A population that is copied first is cut once, and every later count agrees with the copy.
COPIED = "source.snapshot=true"
WHOLE = "the whole population is published"


@dataclass(frozen=True)
class Profile:
    """A profile of users.xml.

    Attributes:
        settings: the hostile settings.
        outcome: `WHOLE`, or a pattern of the error.
        constraints: the names that the user may not change.
        cuts: whether a run without pins publishes less than the population.
    """

    settings: Settings
    outcome: str = WHOLE
    constraints: tuple[str, ...] = ()
    cuts: bool = False

    def xml(self, name: str) -> str:
        """Return the profile for users.xml."""
        values = "".join(f"<{key}>{value}</{key}>" for key, value in self.settings.items())
        fixed = "".join(f"<{key}><const/></{key}>" for key in self.constraints)
        return f"<{name}><profile>default</profile>{values}<constraints>{fixed}</constraints></{name}>"


SMALL_BLOCKS = {"max_block_size": 64, "preferred_block_size_bytes": 0, "max_threads": 1}
PROFILES = {
    "rows": Profile(
        {"max_rows_to_read": 2000, "read_overflow_mode": "break", **SMALL_BLOCKS}, "max_rows_to_read", cuts=True
    ),
    "leaf": Profile({"max_rows_to_read_leaf": 2000, "read_overflow_mode_leaf": "break", **SMALL_BLOCKS}, "_leaf"),
    "groups": Profile({"max_rows_to_group_by": 10, "group_by_overflow_mode": "any", **SMALL_BLOCKS}),
    "sorted": Profile({"max_rows_to_sort": 100, "sort_overflow_mode": "break"}),
    "result": Profile({"max_result_rows": 2500, "result_overflow_mode": "break", **SMALL_BLOCKS}, "Limit for result"),
    "joined": Profile({"max_rows_in_join": 10, "join_overflow_mode": "break"}),
    "members": Profile({"max_rows_in_set": 1, "set_overflow_mode": "break"}, "max_rows_in_set|IN-set|set"),
    "distinct": Profile({"max_rows_in_distinct": 1, "distinct_overflow_mode": "break"}, "DISTINCT"),
    "limited": Profile({"limit": 7}),
    "offset": Profile({"offset": 7}, "offset"),
    "filtered": Profile({"additional_table_filters": f"{{'{FEATURES}': 'total_sessions > 20'}}"}, cuts=True),
    "unlisted": Profile(
        {
            "additional_table_filters": "{'system.settings': 'name != \\'read_overflow_mode\\''}",
            "max_rows_to_read": 2000,
            "read_overflow_mode": "break",
            **SMALL_BLOCKS,
        },
        "max_rows_to_read",
    ),
    "results": Profile({"additional_result_filter": "1 = 0"}, "additional_result_filter"),
    "final": Profile({"final": 1}),
    "deleted": Profile({"apply_deleted_mask": 0}),
    "cached": Profile({"use_query_cache": 1, "query_cache_ttl": 3600}, "QUERY_CACHE"),
    "discarded": Profile({"discard_query_data": 1}),
    "background": Profile({"run_query_in_background": 1}, "run_query_in_background"),
    "nulls": Profile({"join_use_nulls": 1, "group_by_use_nulls": 1, "aggregate_functions_null_for_empty": 1}),
    "empty": Profile({"empty_result_for_aggregation_by_empty_set": 1}),
    "names": Profile({"prefer_column_name_to_alias": 1}),
    "zone": Profile({"session_timezone": "Asia/Tokyo"}),
    "asynchronous": Profile({"async_insert": 1, "wait_for_async_insert": 0}),
    "lazy": Profile({"lightweight_deletes_sync": 0, "mutations_sync": 0, "alter_sync": 0}),
    "dropless": Profile({"ignore_drop_queries_probability": 1}),
    "created": Profile({"create_if_not_exists": 1}),
    "filter": Profile({"filter": "1 = 0"}, "filter"),
    "select": Profile({"select": "1"}, "select"),
    "sort": Profile({"sort": "-1"}, "sort = -1"),
    "order": Profile({"order": "1"}, "order = 1"),
    "page": Profile({"limit": 7, "page": 2}, "page"),
    "fixed": Profile({"read_overflow_mode": "break"}, "read_overflow_mode = break", ("read_overflow_mode",)),
    "harmless": Profile({"read_overflow_mode": "throw"}, WHOLE, ("read_overflow_mode",)),
    "reading": Profile({"readonly": 1, "join_use_nulls": 1}, "join_use_nulls = 1"),
}
BREAKING = "breaking"
# The others take about a second each.
FAST = ("rows", "filtered", "unlisted", "limited", "asynchronous", "results", "sort", "reading")
CASES = [pytest.param(name, marks=pytest.mark.fast if name in FAST else ()) for name in PROFILES]


@dataclass(frozen=True)
class Engine:
    """An engine with a user per profile, a small publisher and the sources of features."""

    publisher: FittedPublisher
    features: Endpoint

    def run(self, profile: str) -> str:
        """Plan and execute a run as a profile's user."""
        publisher = replace(self.publisher, endpoint=replace(self.publisher.endpoint, user=profile))
        manifest = planned(publisher, DAY, COPIED, "score.explain.rows=0")
        in_process(publisher, manifest)
        return manifest.run_id


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("profiles")
    password = secrets.token_hex(16)
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(password)
    breaking = Profile({name: "any" if "group" in name else "break" for name in pins.OVERFLOW})
    profiles = {**PROFILES, BREAKING: breaking}
    configured(
        folder / "engine",
        users=user(TESTER, password) + "".join(user(name, password, profile=name) for name in profiles),
        profiles="".join(profile.xml(name) for name, profile in profiles.items()),
    )
    with open_embedded(folder / "engine") as lease:
        server = replace(lease.endpoint, user=TESTER, password_file=str(secret))
        publisher = small_publisher(server, "profiles", folder, USERS)
        features = replace(server, database="sources")
        migrate_at(features)
        with Client(features) as client:
            _shrink_granules(client, "customer_sessions")
            build(client, users=300, days=30, last_date=LAST)
        yield Engine(publisher, features)


@pytest.fixture
def admin(engine: Engine) -> Iterator[Client]:
    with Client(engine.publisher.endpoint) as client:
        yield client


@pytest.fixture
def unpinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the settings to the profile, as if there were no pins."""
    monkeypatch.setattr(pins, "pin", lambda *_: None)


def published(client: Client) -> tuple[int, int]:
    """Return how many rows and keys of the day each stand in the predictions."""
    (counts,) = client.rows(
        "SELECT count(), uniqExact(company_id, brand_id, entity_id) FROM ml_model_predictions"
        " WHERE prediction_type = 'churn' AND prediction_date = {day:Date}",
        {"day": DAY},
    )
    return counts[0], counts[1]


@pytest.mark.parametrize("name", CASES)
def test_a_profile_never_publishes_less_than_the_population(engine: Engine, admin: Client, name: str) -> None:
    outcome = PROFILES[name].outcome
    before = published(admin)
    if outcome == WHOLE:
        assert_exact(admin, DAY, engine.run(name))
    else:
        with pytest.raises(RaypipeError) as refused:
            engine.run(name)
        assert re.search(outcome, str(refused.value))
        assert published(admin) == before
    assert published(admin)[0] in (0, USERS)


@pytest.mark.fast
@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.cuts])
def test_without_pins_a_profile_publishes_a_part_of_the_population(
    engine: Engine, admin: Client, unpinned: None, name: str
) -> None:
    engine.run(name)
    rows, keys = published(admin)
    assert rows == keys < USERS


@pytest.mark.fast
def test_every_overflow_mode_of_the_server_throws(engine: Engine) -> None:
    with Client(replace(engine.publisher.endpoint, user=BREAKING)) as client:
        modes = dict(client.rows("SELECT name, value FROM system.settings WHERE name LIKE '%overflow_mode%'"))
    assert modes == dict.fromkeys(pins.OVERFLOW, "throw")


@pytest.mark.fast
def test_without_pins_the_overflow_modes_are_those_of_the_profile(engine: Engine, unpinned: None) -> None:
    with Client(replace(engine.publisher.endpoint, user=BREAKING)) as client:
        modes = client.rows("SELECT DISTINCT value FROM system.settings WHERE name LIKE '%overflow_mode%'")
    assert sorted(modes) == [("any",), ("break",)]


def _build(endpoint: Endpoint, day: date) -> int:
    """Build a day's features, and return the number of users that have them."""
    with Client(endpoint) as client, suppress(ServerError):
        snapshots.compute(
            client,
            day,
            run_at=datetime(2026, 2, 1, tzinfo=UTC),
            timezone="UTC",
            progress=lambda stage, done, total: None,
            replace=True,
        )
    with Client(replace(endpoint, user=TESTER)) as client:
        return int(client.value(f"SELECT count() FROM {FEATURES} WHERE feature_date = {{day:Date}}", {"day": day}))


@pytest.mark.fast
def test_a_limit_on_groups_never_builds_the_features_of_fewer_users(engine: Engine) -> None:
    day = LAST - timedelta(days=1)
    assert _build(replace(engine.features, user="groups"), day) == 0
    assert _build(engine.features, day) > 100


@pytest.mark.fast
def test_without_pins_a_limit_on_groups_builds_the_features_of_fewer_users(engine: Engine, unpinned: None) -> None:
    day = LAST - timedelta(days=2)
    built = _build(replace(engine.features, user="groups"), day)
    assert 0 < built < _build(engine.features, day)


def _owners() -> tuple[Owner, Owner]:
    return Owner.here("run-1"), Owner.here("run-2")


@pytest.mark.fast
def test_create_if_not_exists_gives_a_lock_to_one_owner(engine: Engine) -> None:
    first, second = _owners()
    with Client(replace(engine.publisher.endpoint, user="created")) as client:
        held = lock.acquire(client, "one", first)
        with pytest.raises(Busy):
            lock.acquire(client, "one", second)
        with pytest.raises(ServerError):
            client.run(client.topology.lock(held.table, "another"))
        lock.release(client, "one", first)
        assert_nothing_left(client)


@pytest.mark.fast
def test_without_pins_create_if_not_exists_creates_a_lock_twice(
    engine: Engine, unpinned: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _owners()
    granted: list[lock.Lock] = []
    with Client(replace(engine.publisher.endpoint, user="created")) as client:
        # Between the first's look and its CREATE, the second takes the lock.
        before_sending(monkeypatch, re.compile("CREATE"), lambda: granted.append(lock.acquire(client, "two", second)))
        granted.append(lock.acquire(client, "two", first))
        assert [(held.owner, held.epoch) for held in granted] == [(second, 1), (first, 1)]
        assert lock.holder(client, "two") == second
        lock.release(client, "two", second)


@pytest.mark.fast
def test_a_setting_that_is_fixed_is_named_with_its_values_and_the_next_step(engine: Engine) -> None:
    with pytest.raises(ConfigError) as refused:
        Client(replace(engine.publisher.endpoint, user="fixed"))
    assert refused.value.found == "read_overflow_mode = break"
    assert refused.value.allowed == "read_overflow_mode = throw"
    assert "constraint" in str(refused.value.next_step)
