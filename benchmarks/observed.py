"""Describe a demo's readers by all that can be observed up to a day: sessions, reads, and the articles' echo."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.clickhouse.client import Client

Array = npt.NDArray[Any]

EPOCH = date(1970, 1, 1)
TOPICS = 8
SESSIONS = """
WITH (list, value) -> toFloat64(indexOf(list, value)) AS number
SELECT
    cityHash64(company_id, brand_id, user_id) AS reader,
    cityHash64(brand_id) AS brand,
    toUInt16(toDate(session_start, 'UTC')) AS day,
    toUnixTimestamp(session_start) AS moment,
    toFloat64(engagement_score) AS score,
    log(session_duration_sec) AS duration,
    toFloat64(pages_visited_count) AS pages,
    toFloat64(scroll_depth_avg) AS scroll,
    toFloat64(searches) AS searches,
    toFloat64(newsletter_signups) AS newsletters,
    toFloat64(article_views) AS views,
    toFloat64(article_clicks) AS clicks,
    number(['direct', 'search', 'social', 'newsletter'], referrer) AS referrer,
    number((SELECT arraySort(groupUniqArray(device_type_id)) FROM device_types), device_type_id) AS screen,
    number(['free', 'basic', 'premium'], subscription_tier) AS tier,
    number(['passer-by', 'casual', 'regular', 'devoted'], user_segment) AS segment
FROM customer_sessions
ORDER BY reader, moment, session_id
"""
READS = """
SELECT
    cityHash64(company_id, brand_id, user_id) AS reader,
    toUInt16(toDate(session_start, 'UTC')) AS day,
    cityHash64(id) AS article,
    toFloat64(clicked) AS clicked
FROM
(
    SELECT
        company_id, brand_id, user_id, session_start, session_id,
        JSONExtract(article_ids_visited, 'Array(String)') AS ids,
        JSONExtract(page_events, 'Array(UInt8)') AS clicks
    FROM customer_sessions
)
ARRAY JOIN ids AS id, clicks AS clicked
ORDER BY reader, session_start, session_id
"""
ARTICLES = """
WITH (list, value) -> toFloat64(indexOf(list, value)) - 1 AS number
SELECT
    cityHash64(article_id) AS article,
    cityHash64(any(brand_id)) AS brand,
    any(publish_date) - toDate(0) AS day,
    number(['POL', 'WOR', 'BUS', 'TEC', 'CUL', 'HEA', 'TRA', 'OPI'], any(category_code)) AS topic,
    cityHash64(any(primary_author_id)) AS author,
    number(['news', 'analysis', 'video', 'feature'], any(article_type)) AS type
FROM editorial_articles AS article
ANY LEFT JOIN categories AS category ON category.category_id = article.primary_category_id
GROUP BY article_id
"""


@dataclass
class Observed:
    """The sessions, reads and articles of a demo, as columns; readers, brands, articles and authors by number."""

    readers: Array
    articles: Array
    sessions: dict[str, Array]
    reads: dict[str, Array]
    article: dict[str, Array]

    @staticmethod
    def read(client: Client) -> Observed:
        sessions, reads, article = (_columns(client, sql) for sql in (SESSIONS, READS, ARTICLES))
        readers = np.unique(sessions["reader"])
        articles = np.sort(article["article"])
        order = np.argsort(article["article"])
        article = {name: values[order] for name, values in article.items()}
        for name in ("brand", "author"):
            article[name] = np.unique(article[name], return_inverse=True)[1]
        sessions["brand"] = np.unique(sessions["brand"], return_inverse=True)[1]
        sessions["reader"] = np.searchsorted(readers, sessions["reader"])
        reads["reader"] = np.searchsorted(readers, reads["reader"])
        reads["article"] = np.searchsorted(articles, reads["article"])
        reads["topic"] = article["topic"][reads["article"]].astype(np.int64)
        reads["brand"] = article["brand"][reads["article"]]
        return Observed(readers, articles, sessions, reads, article)

    def of(self, day: date, readers: Array, articles: Array | None) -> Array:
        """Return what is known at the end of a day, a row per reader, or per pair of a reader and an article."""
        at = np.searchsorted(self.readers, readers)
        known = _Known(self, (day - EPOCH).days)
        columns = [values[at] for values in known.of_readers()]
        if articles is not None:
            columns += known.of_pairs(at, np.searchsorted(self.articles, articles))
        return np.column_stack(columns).astype(np.float32)


class _Known:
    """What is known at the end of a day."""

    def __init__(self, all_days: Observed, day: int) -> None:
        self.count, self.day, self.article = len(all_days.readers), day, all_days.article
        now = all_days.sessions["day"] <= day
        self.sessions = {name: values[now] for name, values in all_days.sessions.items()}
        now = all_days.reads["day"] <= day
        self.reads = {name: values[now] for name, values in all_days.reads.items()}
        self.age = day - self.sessions["day"].astype(np.int64)
        self.read_age = day - self.reads["day"].astype(np.int64)
        self.weekend = (self.sessions["day"].astype(np.int64) + 3) % 7 >= 5
        self.quality = self._quality()
        self.taste = self._per(self.reads["reader"] * TOPICS + self.reads["topic"], None, self.count * TOPICS)
        self.taste = self.taste.reshape(self.count, TOPICS)
        self.favourite = self.taste.argmax(axis=1)
        self.second = np.where(np.arange(TOPICS) == self.favourite[:, None], -1, self.taste).argmax(axis=1)
        self.brand = np.zeros(self.count, np.int64)
        self.brand[self.sessions["reader"]] = self.sessions["brand"]

    def _per(self, groups: Array, values: Array | None, size: int) -> Array:
        return np.bincount(groups, values, size)

    def _sum(self, where: Array, name: str | None = None) -> Array:
        s = self.sessions
        return self._per(s["reader"][where], None if name is None else s[name][where], self.count)

    def _quality(self) -> Array:
        """Return each article's clicks per view so far, shrunk to its author's and its desk's."""
        size, r = len(self.article["day"]), self.reads
        views, clicks = np.bincount(r["article"], None, size), np.bincount(r["article"], r["clicked"], size)
        mean = clicks.sum() / max(1, views.sum())

        def shrunk(groups: Array, prior: Array | float, strength: float) -> Array:
            seen, hit = np.bincount(groups, views), np.bincount(groups, clicks)
            return ((hit + strength * prior) / (seen + strength))[groups]

        author = shrunk(self.article["author"], mean, 50.0)
        self.by_author = author
        return np.asarray((clicks + 30 * author) / (views + 30))

    def of_readers(self) -> list[Array]:
        return [*self._visits(), *self._habits(), *self._scores(), *self._tastes(), *self._desks()]

    def _visits(self) -> list[Array]:
        weeks = [self._sum((self.age >= 7 * n) & (self.age < 7 * n + 7)) for n in range(13)]
        recent = [self._sum(self.age < n) for n in (3, 14, 28, 56, 400)]
        ends = [self._sum(self.weekend & (self.age < n)) for n in (28, 400)]
        s = self.sessions
        lasts = np.full((self.count, 3), np.nan)
        # Sessions are sorted by reader and time.
        ends_at = np.cumsum(np.bincount(s["reader"], None, self.count)) - 1
        begins = np.bincount(s["reader"], None, self.count)
        for back in range(3):
            has = begins > back
            lasts[has, back] = self.age[ends_at[has] - back]
        first = np.full(self.count, np.nan)
        first[begins > 0] = self.age[(ends_at - begins + 1)[begins > 0]]
        share = ends[1] / np.maximum(1, recent[4])
        return [*weeks, *recent, *ends, share, *lasts.T, first, recent[4] / np.maximum(1, first + 1)]

    def _habits(self) -> list[Array]:
        total = np.maximum(1, self._sum(self.age >= 0))
        names = ("duration", "pages", "scroll", "searches", "newsletters", "views", "clicks")
        means = [self._sum(self.age >= 0, name) / total for name in names]
        s = self.sessions
        by = [self._sum(s["referrer"] == n) / total for n in (1, 2, 3, 4)]
        screens = [self._sum(s["screen"] == n) / total for n in (1, 2, 3)]
        last = [np.full(self.count, np.nan) for _ in range(2)]
        for values, name in zip(last, ("tier", "segment"), strict=True):
            values[s["reader"]] = s[name]
        return [*means, self._sum(self.age >= 0, "newsletters"), *by, *screens, *last, self.brand]

    def _scores(self) -> list[Array]:
        s, found = self.sessions, []
        for n in (7, 14, 28, 56, 400):
            found += [_ratio(self._sum(self.age < n, "score"), self._sum(self.age < n))]
        for where in (self.weekend, ~self.weekend):
            found += [_ratio(self._sum(where, "score"), self._sum(where))]
        last = np.full(self.count, np.nan)
        last[s["reader"]] = s["score"]
        return [*found, last]

    def _tastes(self) -> list[Array]:
        r, found = self.reads, []
        of_favourite = r["topic"] == self.favourite[r["reader"]]
        of_second = r["topic"] == self.second[r["reader"]]
        for n in (7, 14, 21, 28, 56, 400):
            near = self.read_age < n
            every, some = (self._per(r["reader"][w], None, self.count) for w in (near, near & of_favourite))
            found += [every, some, _ratio(some, every), self._per(r["reader"][near & of_second], None, self.count)]
            rated = self._per(r["reader"][near], self.quality[r["article"]][near], self.count)
            found += [_ratio(rated, every)]
        newest = np.full(self.count, np.nan)
        newest[r["reader"][of_favourite]] = self.read_age[of_favourite]
        before = self.read_age >= 21
        return [
            *found,
            newest,
            self.favourite,
            self.second,
            self.favourite + TOPICS * self.brand,
            self._per(r["reader"][before & of_favourite], None, self.count),
            self.taste.max(axis=1) / np.maximum(1, self.taste.sum(axis=1)),
        ]

    def _desks(self) -> list[Array]:
        """Return the clicks per view and the demand of the favourite category of the reader's brand."""
        r = self.reads
        desk = r["brand"] * TOPICS + r["topic"]
        own, second = self.brand * TOPICS + self.favourite, self.brand * TOPICS + self.second
        found: list[Array] = []
        size = TOPICS * (1 + int(r["brand"].max()))
        published = self.day - self.article["day"][r["article"]]
        for first, last in ((0, 4), (0, 7), (0, 14), (0, 28), (7, 14), (14, 28), (28, 42), (42, 56), (0, 84)):
            near = (published >= first) & (published < last)
            views = np.bincount(desk[near], None, size)
            rate = _ratio(np.bincount(desk[near], r["clicked"][near], size), views)
            found += [rate[own], rate[second]]
        month = np.maximum(1, np.bincount(r["topic"][self.read_age < 56], None, TOPICS))
        for n in (7, 14, 28):
            near = self.read_age < n
            found += [(np.bincount(r["topic"][near], None, TOPICS) / month)[self.favourite]]
        return found

    def of_pairs(self, reader: Array, article: Array) -> list[Array]:
        r, a = self.reads, self.article
        topic, size = a["topic"][article].astype(np.int64), len(a["day"])
        views, clicks = np.bincount(r["article"], None, size), np.bincount(r["article"], r["clicked"], size)
        own, seen = self.count * TOPICS, r["reader"] * TOPICS + r["topic"]
        tastes = np.bincount(seen, None, own), np.bincount(seen, r["clicked"], own)
        pair = reader * TOPICS + topic
        authors = 1 + int(a["author"].max())
        by_author = r["reader"] * authors + a["author"][r["article"]]
        wanted, at = np.unique(reader * authors + a["author"][article], return_inverse=True)
        place = np.searchsorted(wanted, by_author)
        place = np.where(place == len(wanted), 0, place)
        same = wanted[place] == by_author
        author_views = np.bincount(place[same], None, len(wanted))[at]
        author_clicks = np.bincount(place[same], r["clicked"][same], len(wanted))[at]
        desk = (a["brand"] * TOPICS + a["topic"]).astype(np.int64)
        fresh = (self.day - a["day"][r["article"]]) < 14
        near = desk[r["article"]][fresh]
        lately = _ratio(np.bincount(near, r["clicked"][fresh], desk.max() + 1), np.bincount(near, None, desk.max() + 1))
        total = self.taste.sum(axis=1)
        return [
            self.quality[article],
            self.by_author[article],
            lately[desk[article]],
            views[article],
            _ratio(clicks, views)[article],
            self.day - a["day"][article],
            topic,
            a["type"][article],
            a["author"][article],
            topic == self.favourite[reader],
            topic == self.second[reader],
            tastes[0][pair],
            tastes[0][pair] / np.maximum(1, total[reader]),
            _ratio(tastes[1], tastes[0])[pair],
            author_views,
            _ratio(author_clicks, author_views),
        ]


def _ratio(numerator: Array, denominator: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _columns(client: Client, sql: str) -> dict[str, Array]:
    table = client.table(sql)
    return {name: table.column(name).to_numpy() for name in table.column_names}
