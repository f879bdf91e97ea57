"""Test that the SQL for a demo's best reachable result matches the publisher's latent truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load, load_all
from raypipe.config.load import list_pipelines
from raypipe.data.slices import unsliced
from raypipe.demo.reachable import best_reachable
from raypipe.project import shipped

LAST = date(2026, 1, 31)
DAY = date(2026, 1, 10)
UNTIL = DAY + timedelta(days=3)
DEMO = shipped() / "sql" / "demo"

Array = npt.NDArray[Any]


def truth(pipeline: str) -> str:
    statement = best_reachable(pipeline)
    assert statement is not None
    return statement.text


@pytest.fixture(scope="module")
def publisher_client(publisher: Endpoint) -> Iterator[Client]:
    with Client(publisher) as client:
        yield client


def test_every_pipeline_that_is_judged_by_an_outcome_has_a_best() -> None:
    assert [name for name in list_pipelines(None) if best_reachable(name)] == [
        "churn", "clicks", "conversion", "engagement", "recommendation"
    ]  # fmt: skip


def scored(client: Client, pipeline: str, horizon: int, keys: str = "company_id, brand_id, user_id") -> Any:
    """The truth's score and the label of everybody in a pipeline's population, (rows, 2)."""
    folder = shipped() / "sql" / pipeline
    features, labels = (unsliced(load(folder / f"{name}.sql").text) for name in ("features", "labels"))
    # The newest snapshot whose labels are complete; they stand half a month apart.
    day = LAST - timedelta(days=15 * -(-horizon // 15))
    values = {"date": day, "until": day + timedelta(days=horizon), "timezone": "UTC", "days": 30}
    rows = client.rows(
        f"SELECT score, label FROM (SELECT {keys} FROM ({features})) AS population"
        f" INNER JOIN ({labels}) AS labelled USING ({keys}) INNER JOIN ({truth(pipeline)}) AS best USING ({keys})",
        values,
    )
    return np.array(rows, np.float64)


@pytest.mark.parametrize(("pipeline", "horizon"), [("conversion", 30), ("clicks", 7)])
def test_what_is_said_to_be_likely_happens_as_often(publisher_client: Client, pipeline: str, horizon: int) -> None:
    keys = "company_id, brand_id, user_id" + (", article_id" if pipeline == "clicks" else "")
    found = scored(publisher_client, pipeline, horizon, keys)
    found = found[np.argsort(found[:, 0])]
    assert len(found) > 2_000
    for part in np.array_split(found, 5):
        expected, happened = part.sum(axis=0)
        assert abs(happened - expected) < 4 * np.sqrt((part[:, 0] * (1 - part[:, 0])).sum())
    assert found[-len(found) // 5 :, 0].mean() > 1.5 * found[: len(found) // 5, 0].mean()


def test_what_is_left_of_engagement_is_noise(publisher_client: Client) -> None:
    found = scored(publisher_client, "engagement", 7)
    error = found[:, 1] - found[:, 0]
    sessions = np.array(
        publisher_client.rows(
            "SELECT count() FROM customer_sessions WHERE session_start >= toDateTime({day:Date} - 6, 'UTC')"
            " AND session_start < toDateTime({day:Date} + 1, 'UTC') GROUP BY company_id, brand_id, user_id",
            {"day": LAST - timedelta(days=8)},
        ),
        np.float64,
    )
    # A score has a spread of 2.5 points, the mean of n scores one of 2.5 / √n; little is cut off at 0 and 100.
    noise = 2.5 * np.sqrt((1 / sessions).mean())
    assert abs(error.mean()) < 4 * noise / np.sqrt(len(error))
    assert np.sqrt((error**2).mean()) == pytest.approx(noise, rel=0.06)


@dataclass(frozen=True)
class Reader:
    """A reader made by hand, and what a great many like this one did after DAY."""

    intensity: float = 0.9
    repeat_rate: float = 0.3
    interest: float = 0.7
    topic: int = 1
    second_topic: int = 2


READER = Reader()
OLDEST = DAY - timedelta(days=15)
SLOTS = 6
TIMES = 150_000


def topics() -> Array:
    """By day from OLDEST to UNTIL and slot; hand-made, so that favourites are beside others and beside each other."""
    days = (UNTIL - OLDEST).days + 1
    return (np.arange(days * SLOTS).reshape(days, SLOTS) * 5 // 3 + np.arange(days)[:, None]) % 4


def qualities() -> Array:
    return np.round(np.sin(np.arange(topics().size)).reshape(topics().shape), 3)


@pytest.fixture(scope="module")
def played() -> dict[str, Array]:
    """Return views, clicks and content platform views per article by TIMES readers, (days, slots)."""
    rng = np.random.default_rng(5)
    kinds, quality = topics(), qualities()
    favourite = (kinds == READER.topic) | (kinds == READER.second_topic)
    liked = 1.2 * (kinds == READER.topic) + 0.6 * (kinds == READER.second_topic)
    chance = 1 / (1 + np.exp(1.2 - liked - 0.5 * quality))
    shape = (TIMES, *kinds.shape)
    seen, clicked, known = (np.zeros(shape, np.bool_) for _ in range(3))
    someone = np.arange(TIMES)
    for day in range((DAY - OLDEST).days + 1, kinds.shape[0]):
        visit = rng.random(TIMES) < 1 - np.exp(-READER.intensity)
        for session in (visit, visit & (rng.random(TIMES) < READER.repeat_rate)):
            draws = 1 + np.minimum(7, rng.exponential(0.5 + np.exp(0.4 * READER.interest), TIMES) // 1)
            read = np.zeros(shape, np.bool_)
            for draw in range(8):
                at = day - np.minimum(13, rng.exponential(2, TIMES) // 1).astype(int)
                slot = rng.integers(0, SLOTS, TIMES)
                slot = np.where(favourite[at, slot], slot, slot ^ 1)
                read[someone, at, slot] |= session & (draw < draws)
            seen |= read
            clicked |= read & (rng.random(shape) < chance)
            known |= read & (rng.random(TIMES) >= 1 / 30)[:, None, None]
    return {"seen": seen.sum(axis=0), "clicked": clicked.sum(axis=0), "known": known.sum(axis=0)}


def name(day: int, slot: int) -> str:
    return f"a{day:02d}-{slot}"


@pytest.fixture
def by_hand(client: Client) -> Client:
    """One reader and the articles of three weeks, as the demo's truth tables have them."""
    migrate(client)
    for statement in load_all(DEMO / "truth_tables.sql"):
        client.run(statement.text)
    client.run(
        "INSERT INTO demo_truth (company_id, brand_id, user_id, brand, loyalty, interest, topic, second_topic,"
        " intensity, repeat_rate, joined, conversion_hazard) VALUES ('c', 'b', 'u', 1, 3, {interest:Float64},"
        " {topic:UInt8}, {second:UInt8}, {intensity:Float64}, {repeat:Float64}, {joined:Date}, 0.01)",
        {
            "interest": READER.interest,
            "topic": READER.topic,
            "second": READER.second_topic,
            "intensity": READER.intensity,
            "repeat": READER.repeat_rate,
            "joined": OLDEST,
        },
    )
    days = [OLDEST + timedelta(days=n) for n in range(topics().shape[0])]
    client.run("INSERT INTO demo_days VALUES " + ", ".join(f"('{day}', 1, 1, 0)" for day in days))
    articles = [
        f"('{name(day, slot)}', 1, '{days[day]}', {slot}, {topics()[day, slot]}, {qualities()[day, slot]})"
        for day in range(len(days))
        for slot in range(SLOTS)
    ]
    client.run(f"INSERT INTO demo_articles VALUES {', '.join(articles)}")
    return client


def test_an_article_is_as_likely_seen_as_by_many_readers(by_hand: Client, played: dict[str, Array]) -> None:
    rows = by_hand.rows(
        f"WITH {load(DEMO / 'reading.sql').text}"
        " SELECT article_id, 1 - arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, missed), visiting,"
        f" passing)) FROM demo_truth CROSS JOIN ({load(DEMO / 'paired_articles.sql').text}) AS article",
        {"date": DAY, "until": UNTIL},
    )
    found = dict(rows)
    assert len(rows) == len(found) == played["seen"].size
    for day, slot in np.ndindex(played["seen"].shape):
        share = played["seen"][day, slot] / TIMES
        assert found[name(day, slot)] == pytest.approx(share, abs=4.5 * np.sqrt(share / TIMES) + 1e-4)


def saw(client: Client, table: str, kind: str, article: str, day: date) -> None:
    # The content platform does not know the company.
    column, value = (", company_id", ", 'c'") if table == "customer_events" else ("", "")
    client.run(
        f"INSERT INTO {table} (event_id, brand_id, user_id, article_id, event_type, event_timestamp{column})"
        f" VALUES ('e', 'b', 'u', {{article:String}}, {{kind:String}}, toDateTime({{day:Date}}, 'UTC') + 43200{value})",
        {"article": article, "kind": kind, "day": day},
    )


def test_a_click_is_as_likely_as_among_many_readers_who_saw_the_article(
    by_hand: Client, played: dict[str, Array]
) -> None:
    last = (DAY - OLDEST).days
    often = [(day, slot) for day, slot in zip(*np.nonzero(played["seen"] > 1_000), strict=True) if day <= last]
    assert len(often) > 20
    for day, slot in often:
        saw(by_hand, "customer_events", "article_view", name(day, slot), UNTIL)
    saw(by_hand, "customer_events", "article_view", name(last + 1, 0), UNTIL)
    saw(by_hand, "customer_events", "article_view", name(last, 0), DAY)
    rows = by_hand.rows(f"SELECT article_id, score FROM ({truth('clicks')})", {"date": DAY, "until": UNTIL})
    found = dict(rows)
    assert len(rows) == len(found)
    assert found.keys() == {name(day, slot) for day, slot in often}
    for day, slot in often:
        times = played["seen"][day, slot]
        share = played["clicked"][day, slot] / times
        assert found[name(day, slot)] == pytest.approx(share, abs=4.5 * np.sqrt(share * (1 - share) / times))


def test_the_list_holds_what_many_readers_read_most(by_hand: Client, played: dict[str, Array]) -> None:
    last = (DAY - OLDEST).days
    share = played["known"][: last + 1] / TIMES
    places = zip(*np.unravel_index(np.argsort(-share.ravel()), share.shape), strict=True)
    order = [name(day, slot) for day, slot in places]
    known, wanted = order[0], order[1]
    saw(by_hand, "editorial_content_events", "view", known, DAY)
    for article in (known, wanted, name(last + 1, 0)):
        saw(by_hand, "editorial_content_events", "view", article, UNTIL)
    ((*_, listed, found),) = by_hand.rows(
        truth("recommendation"), {"date": DAY, "until": UNTIL, "days": 30, "length": 10}
    )
    assert found == [wanted]
    assert len(set(listed)) == 10
    assert known not in listed
    of = {name(day, slot): share[day, slot] for day in range(last + 1) for slot in range(SLOTS)}
    least, most = min(of[article] for article in listed), max(of[one] for one in order if one not in (*listed, known))
    assert least > most - 4 * np.sqrt(2 * most / TIMES)
    assert [of[article] for article in listed] == pytest.approx(sorted((of[a] for a in listed), reverse=True), rel=0.06)


def test_a_probability_and_a_mean_follow_from_the_truth(by_hand: Client) -> None:
    values = {"date": DAY, "until": UNTIL}
    ((*_, converts),) = by_hand.rows(truth("conversion"), values)
    assert converts == pytest.approx(1 - np.exp(-0.01 * 3))
    ((*_, leaves),) = by_hand.rows(truth("churn"), values)
    assert leaves == pytest.approx(np.exp(-READER.intensity * 3))
    # Of 50 + 13 · 3 points with a spread of 2.5 nothing is cut off; of 50 + 13 · 4 most is.
    ((*_, engaged),) = by_hand.rows(truth("engagement"), values)
    assert engaged == pytest.approx(89, abs=1e-3)
    by_hand.run("ALTER TABLE demo_truth UPDATE loyalty = 4 WHERE 1", settings={"mutations_sync": 2})
    ((*_, engaged),) = by_hand.rows(truth("engagement"), values)
    draws = np.minimum(100, 102 + 2.5 * np.random.default_rng(1).standard_normal(200_000))
    assert engaged == pytest.approx(draws.mean(), abs=0.02)
    # From the last of the three days on three quarters.
    by_hand.run("ALTER TABLE demo_truth UPDATE loyalty = 0 WHERE 1", settings={"mutations_sync": 2})
    by_hand.run(f"ALTER TABLE demo_days UPDATE drifted = 1 WHERE day >= '{UNTIL}'", settings={"mutations_sync": 2})
    ((*_, engaged),) = by_hand.rows(truth("engagement"), values)
    assert engaged == pytest.approx(50 * (2 + 0.75) / 3, abs=1e-3)


def test_who_has_not_joined_by_the_snapshot_can_convert_from_that_day_on(by_hand: Client) -> None:
    by_hand.run(f"ALTER TABLE demo_truth UPDATE joined = '{UNTIL}' WHERE 1", settings={"mutations_sync": 2})
    ((*_, converts),) = by_hand.rows(truth("conversion"), {"date": DAY, "until": UNTIL})
    assert converts == pytest.approx(1 - np.exp(-0.01))


def test_a_database_that_is_no_demo_is_refused(database: Endpoint) -> None:
    result = CliRunner().invoke(
        app,
        ["reachable", "--json"],
        env={"RAYPIPE_URL": str(database), "RAYPIPE_PASSWORD_FILE": database.password_file or ""},
    )
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 1
    assert "is not a demo" in result.stderr
    assert "raypipe demo" in result.stderr
