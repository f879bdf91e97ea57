"""Test that the SQL for a demo's best reachable result matches the publisher's latent truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
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
from raypipe.demo.observable import observable
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


@pytest.mark.parametrize(("pipeline", "horizon"), [("churn", 30), ("conversion", 30), ("clicks", 7)])
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
    found = found[np.argsort(found[:, 0])]
    for part in np.array_split(found, 5):
        expected, happened = part.mean(axis=0)
        assert abs(happened - expected) < 4 * error.std() / np.sqrt(len(part))
    # Most of the error is whether a reader returns at all.
    assert error.std() < 0.95 * found[:, 1].std()


@dataclass(frozen=True)
class Reader:
    """A reader made by hand, and what a great many like this one did after DAY; before a turn on the last day."""

    intensity: float = 0.9
    repeat_rate: float = 0.3
    interest: float = 0.7
    loyalty: float = 3.0
    topic: int = 1
    second_topic: int = 2
    device: int = 2
    favourite_author: int = 5
    turn_every: int = 100
    turn_shift: int = (79 - (UNTIL - date(1970, 1, 1)).days) % 100


READER = Reader()
OLDEST = DAY - timedelta(days=15)
BRAND = 1
TOPICS = 8
TIMES = 150_000


def shape() -> tuple[int, int]:
    """Days from OLDEST to UNTIL, and topics."""
    return (UNTIL - OLDEST).days + 1, TOPICS


def qualities() -> Array:
    return np.round(np.sin(np.arange(np.prod(shape())).reshape(shape())), 3)


def authors() -> Array:
    return np.arange(np.prod(shape())).reshape(shape()) * 7 % 12


def types() -> Array:
    return np.arange(np.prod(shape())).reshape(shape()) * 5 // 3 % 4


def visits(day: date, reader: Reader = READER) -> float:
    """The expected visits on a day of weight 1, of a reader on the free tier."""
    number = (day - date(1970, 1, 1)).days
    desk = np.sin(2 * np.pi * ((number - 28) / 75 + (3 * reader.topic + BRAND / 5) / 8))
    season = np.cos(2 * np.pi * (number / 84 + reader.topic / 8))
    return float(reader.intensity * np.exp(2 * desk / (1 + np.exp(1.5 * reader.loyalty))) * (1 + 0.5 * season))


def click_rates(screen: int) -> Array:
    favourite, second = (np.arange(TOPICS) == number for number in (READER.topic, READER.second_topic))
    fitting = np.array([[0.2, -1.0, 1.0, -0.2], [0.0, 1.0, -1.0, 0.2], [0.0, 0.0, 0.0, 1.0]])[screen - 1][types()]
    liked = 1.6 * favourite + 0.8 * second + np.where(favourite | second, 0.3, 1.1) * qualities()
    return np.asarray(1 / (1 + np.exp(1.9 - liked - (authors() == READER.favourite_author) - fitting)))


def chosen(day: date) -> Array:
    """The probability that an article that the reader opens on a day is of each topic."""
    second = 0.35 if day.weekday() >= 5 else 0.15
    shares = np.full(TOPICS, (1 - second) / 7 if day == UNTIL else 0.2 / 8)
    shares[READER.topic] = 0 if day == UNTIL else 0.8 - second + 0.2 / 8
    shares[READER.second_topic] += second
    return shares


@pytest.fixture(scope="module")
def played() -> dict[str, Array]:
    """Return views, clicks and content platform views per article by TIMES readers, (days, topics)."""
    rng = np.random.default_rng(5)
    seen, clicked, known = (np.zeros((TIMES, *shape()), np.bool_) for _ in range(3))
    rates = np.stack([click_rates(screen) for screen in (1, 2, 3)])
    someone = np.arange(TIMES)
    for at in range((DAY - OLDEST).days + 1, shape()[0]):
        day = OLDEST + timedelta(days=at)
        visit = rng.random(TIMES) < 1 - np.exp(-visits(day))
        for session in (visit, visit & (rng.random(TIMES) < READER.repeat_rate)):
            draws = 1 + np.minimum(7, rng.exponential(0.5 + np.exp(0.4 * READER.interest), TIMES) // 1)
            screen = np.where(rng.random(TIMES) < 0.85, READER.device, rng.integers(1, 4, TIMES))
            read = np.zeros((TIMES, *shape()), np.bool_)
            for draw in range(8):
                published = at - np.minimum(13, rng.exponential(2, TIMES) // 1).astype(int)
                read[someone, published, rng.choice(TOPICS, TIMES, p=chosen(day))] |= session & (draw < draws)
            seen |= read
            who, published, topic = np.nonzero(read)
            hit = rng.random(len(who)) < rates[screen[who] - 1, published, topic]
            clicked[who[hit], published[hit], topic[hit]] = True
            known |= read & (rng.random(TIMES) >= 1 / 30)[:, None, None]
    return {"seen": seen.sum(axis=0), "clicked": clicked.sum(axis=0), "known": known.sum(axis=0)}


def name(day: int, topic: int) -> str:
    return f"a{day:02d}-{topic}"


@pytest.fixture
def by_hand(client: Client) -> Client:
    """One reader and the articles of three weeks, as the demo's truth tables have them."""
    migrate(client)
    for statement in load_all(DEMO / "truth_tables.sql"):
        client.run(statement.text)
    reader = {"brand": BRAND, "joined": OLDEST, "initial_tier": "free", "conversion_hazard": 0.01, **asdict(READER)}
    client.run(
        f"INSERT INTO demo_truth (company_id, brand_id, user_id, {', '.join(reader)}) VALUES ('c', 'b', 'u', "
        + ", ".join(repr(value) if isinstance(value, float | int) else f"'{value}'" for value in reader.values())
        + ")"
    )
    days = [OLDEST + timedelta(days=n) for n in range(shape()[0])]
    client.run("INSERT INTO demo_days VALUES " + ", ".join(f"('{day}', 1, 1, 0)" for day in days))
    articles = [
        f"('{name(day, topic)}', {BRAND}, '{days[day]}', {topic}, {authors()[day, topic]}, {types()[day, topic]},"
        f" {qualities()[day, topic]})"
        for day, topic in np.ndindex(shape())
    ]
    client.run(f"INSERT INTO demo_articles VALUES {', '.join(articles)}")
    return client


def test_an_article_is_as_likely_seen_as_by_many_readers(by_hand: Client, played: dict[str, Array]) -> None:
    rows = by_hand.rows(
        f"WITH {load(DEMO / 'reading.sql').text}"
        " SELECT article_id, 1 - arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, missed), visiting,"
        " passing)) FROM demo_truth CROSS JOIN (SELECT article_id, day AS article_day, topic AS article_topic"
        " FROM demo_articles) AS article",
        {"date": DAY, "until": UNTIL},
    )
    found = dict(rows)
    assert len(rows) == len(found) == played["seen"].size
    for day, topic in np.ndindex(shape()):
        share = played["seen"][day, topic] / TIMES
        assert found[name(day, topic)] == pytest.approx(share, abs=float(4.5 * np.sqrt(share / TIMES) + 1e-4))


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
    of = {name(day, slot): share[day, slot] for day in range(last + 1) for slot in range(TOPICS)}
    least, most = min(of[article] for article in listed), max(of[one] for one in order if one not in (*listed, known))
    assert least > most - 4 * np.sqrt(2 * most / TIMES)
    assert [of[article] for article in listed] == pytest.approx(sorted((of[a] for a in listed), reverse=True), rel=0.06)


def change(client: Client, table: str, values: str) -> None:
    client.run(f"ALTER TABLE {table} UPDATE {values}", settings={"mutations_sync": 2})


def after_day() -> list[date]:
    return [DAY + timedelta(days=n + 1) for n in range((UNTIL - DAY).days)]


def test_churn_follows_from_the_visits_and_from_a_turn_of_readers_who_pay(by_hand: Client) -> None:
    values = {"date": DAY, "until": UNTIL}
    ((*_, leaves),) = by_hand.rows(truth("churn"), values)
    assert leaves == pytest.approx(np.exp(-sum(visits(day) for day in after_day())))
    change(by_hand, "demo_truth", "initial_tier = 'basic' WHERE 1")
    ((*_, leaves),) = by_hand.rows(truth("churn"), values)
    assert leaves == pytest.approx(np.exp(-1.7 * sum(visits(day) for day in after_day())))
    # The turn is on the first day after DAY.
    number = (DAY - date(1970, 1, 1)).days + 1
    change(by_hand, "demo_truth", f"turn_shift = {-number % READER.turn_every} WHERE 1")
    ((*_, leaves),) = by_hand.rows(truth("churn"), values)
    assert leaves == pytest.approx(np.exp(-0.05 * sum(visits(day) for day in after_day())))


def test_conversion_follows_from_the_hazard_and_the_desk_two_weeks_before(by_hand: Client) -> None:
    ((*_, converts),) = by_hand.rows(truth("conversion"), {"date": DAY, "until": UNTIL})
    numbers = np.array([(day - date(1970, 1, 1)).days for day in after_day()])
    desk = np.sin(2 * np.pi * ((numbers - 14) / 75 + (3 * READER.topic + BRAND / 5) / 8))
    assert converts == pytest.approx(1 - np.exp(-0.01 * np.exp(1.2 * desk).sum()))


def expected_engagement(day: date, paying: bool = False) -> float:
    """The mean engagement of a session on a day, by the qualities of the last 14 days' articles."""
    shares, turning = chosen(day), day == UNTIL
    lags = np.exp(-np.arange(14) / 2) - np.append(np.exp(-np.arange(1, 14) / 2), 0)
    at = (day - OLDEST).days
    quality = sum(lag * shares @ qualities()[at - back] for back, lag in enumerate(lags))
    own_days = 4 if day.weekday() < 5 else -4
    liking = quality * (1 + 8 / (1 + np.exp(-3 * READER.interest)))
    favourite = 3 * shares[READER.topic]
    return float(50 + 10 * np.tanh(READER.loyalty) + own_days - 12 * paying * turning + favourite + liking)


@pytest.mark.parametrize("paying", [False, True])
def test_engagement_follows_from_reader_day_and_articles(by_hand: Client, paying: bool) -> None:
    values = {"date": DAY, "until": UNTIL}
    if paying:
        change(by_hand, "demo_truth", "initial_tier = 'basic' WHERE 1")
    days, weights = after_day(), [1 - np.exp(-visits(day) * (1.7 if paying else 1)) for day in after_day()]
    scores = np.array([expected_engagement(day, paying) for day in days])
    ((*_, engaged),) = by_hand.rows(truth("engagement"), values)
    returns = 1 - np.prod(1 - np.array(weights))
    assert engaged == pytest.approx(returns * np.average(scores, weights=weights), abs=1e-3)
    # From the last of the three days on three quarters.
    change(by_hand, "demo_days", f"drifted = 1 WHERE day >= '{UNTIL}'")
    ((*_, engaged),) = by_hand.rows(truth("engagement"), values)
    assert engaged == pytest.approx(returns * np.average(scores * [1, 1, 0.75], weights=weights), abs=1e-3)


def test_who_has_not_joined_by_the_snapshot_can_convert_from_that_day_on(by_hand: Client) -> None:
    by_hand.run(f"ALTER TABLE demo_truth UPDATE joined = '{UNTIL}' WHERE 1", settings={"mutations_sync": 2})
    ((*_, converts),) = by_hand.rows(truth("conversion"), {"date": DAY, "until": UNTIL})
    desk = np.sin(2 * np.pi * (((UNTIL - date(1970, 1, 1)).days - 14) / 75 + (3 * READER.topic + BRAND / 5) / 8))
    assert converts == pytest.approx(1 - np.exp(-0.01 * np.exp(1.2 * desk)))


def test_the_best_observable_says_of_which_demo_it_is(by_hand: Client) -> None:
    best = replace(observable(), values={("churn", "auc"): 0.8})
    rows = ", ".join(f"('{name}', '{value}')" for name, value in best.settings.items())
    by_hand.run(f"INSERT INTO demo_settings VALUES {rows}")
    assert best.doubt(by_hand) == ""
    change(by_hand, "demo_settings", "value = '77' WHERE setting = 'seed'")
    assert best.doubt(by_hand) == "the best observable was measured on a demo with seed 1; this demo has seed 77"


def test_a_database_that_is_no_demo_is_refused(database: Endpoint) -> None:
    result = CliRunner().invoke(
        app,
        ["reachable", "--json"],
        env={"RAYPIPE_URL": str(database), "RAYPIPE_PASSWORD_FILE": database.password_file or ""},
    )
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 1
    assert "is not a demo" in result.stderr
    assert "raypipe demo" in result.stderr
