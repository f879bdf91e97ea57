"""Load the publisher's tables as Arrow tables, joined, with names, ready for a notebook.

Days begin and end in the given zone (UTC by default), never in the server's. Reference tables are read in their
newest version; sums and averages are computed by key, whether or not ClickHouse has merged its parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, load
from raypipe.data.days import as_day
from raypipe.errors import UsageError
from raypipe.project import shipped

DAY = timedelta(days=1)
NEAREST_SNAPSHOTS = 5


@dataclass(frozen=True)
class Source:
    """The SELECT of user features, the newest day in its table, and the error of an empty result.

    Attributes:
        newest: the day for a client and a time zone.
        empty: the error for a client, the day and the brand.
    """

    sql: str
    newest: Callable[[Client, str], date]
    empty: Callable[[Client, date, str | None], UsageError]


def load_user_features(
    client: Client,
    feature_date: date | str | None = None,
    brand_id: str | None = None,
    limit: int | None = None,
    names: bool = True,
    content: bool = True,
    *,
    content_days: int = 30,
    timezone: str = "UTC",
) -> pa.Table:
    """Load a snapshot of customer_user_features with the names of its ids and the reading of its users.

    Args:
        feature_date: the snapshot; None for the newest.
        brand_id: only the users of this brand.
        limit: the maximum number of users, the most sessions first.
        names: add `brand_name` and `brand_code` (of `brand_id`), `preferred_brand_name`, `category_name`,
            `device_type_name`, `os_name`, `browser_name`, `country_name` and `city_name`; '' if the
            reference table lacks the id.
        content: add, from editorial_content_events of the `content_days` days up to and including the
            snapshot, `articles_viewed`, `unique_authors_followed` and `categories_engaged` (distinct ids),
            `total_article_views` (views by all readers of those articles in those days) and
            `avg_article_engagement` (mean over those articles of engagement_score weighted by views, in its
            own points; NULL when none of them has views on record).
        content_days: the length of that window in days.
        timezone: the zone in which the window's days are cut.

    Returns:
        One row per (company_id, brand_id, user_id), the most sessions first. Durations are in seconds, `avg_*`
        per session, rates from 0 to 1, `has_*` and `active_*` 0 or 1.

    Raises:
        UsageError: there is no snapshot of that date or brand, or an argument is out of range.
    """
    source = Source("user_features.sql", _latest_snapshot, _no_snapshot)
    return _features(client, source, feature_date, brand_id, limit, names, content, content_days, timezone)


def load_session_features(
    client: Client,
    feature_date: date | str | None = None,
    brand_id: str | None = None,
    limit: int | None = None,
    names: bool = True,
    content: bool = True,
    *,
    content_days: int = 30,
    timezone: str = "UTC",
) -> pa.Table:
    """Compute the result of load_user_features from every session up to the end of a day.

    Use it for comparison, or for a day without a snapshot: it reads all of customer_sessions, many times the
    work of reading a snapshot. The arguments mean the same; without a date, the day is that of the newest
    session. The result lacks the columns that other models write (`churn_risk_score`,
    `churn_probability`, `ml_features`).

    Returns:
        One row per (company_id, brand_id, user_id) with a session, the most sessions first.

    Raises:
        UsageError: there is no session to compute from, or an argument is out of range.
    """
    source = Source("session_features.sql", _last_session, _no_session)
    return _features(client, source, feature_date, brand_id, limit, names, content, content_days, timezone)


def load_daily_metrics(client: Client, brand_id: str, start: date | str, end: date | str) -> pa.Table:
    """Load a brand's daily totals from customer_session_summary_daily.

    Returns:
        One row per day with sessions, in order: `date`, `total_sessions`, `total_users` (added up over countries,
        devices, tiers and segments, so a reader in two of them counts twice), `avg_session_duration_sec` and
        `avg_events_per_session` (weighted by sessions; NULL without sessions), `total_article_views`,
        `total_video_plays`, `total_newsletter_signups`, `total_ad_clicks`.

    Raises:
        UsageError: the end is before the start.
    """
    first, last = _period(start, end)
    return client.table(_sql("daily_metrics.sql").text, {"brand": brand_id, "start": first, "end": last})


def load_interactions(
    client: Client,
    start: date | str,
    end: date | str,
    brand_id: str | None = None,
    event_types: Sequence[str] | None = None,
    *,
    timezone: str = "UTC",
) -> pa.Table:
    """Load the events of known readers with articles from editorial_content_events, counted by type.

    Args:
        event_types: only these types, such as `("view", "share")`.

    Returns:
        One row per (`brand_id`, `user_id`, `article_id`, `event_type`), ordered by them, with `interactions`
        (number of events) and `last_interaction_at` (UTC).

    Raises:
        UsageError: the end is before the start.
    """
    first, last = _period(start, end)
    sql = _sql("interactions.sql").render(
        brand=_brand(brand_id),
        event_types="1" if event_types is None else "event_type IN {event_types:Array(String)}",
    )
    parameters = {"since": first, "until": last + DAY, "timezone": timezone}
    return client.table(sql, {**parameters, "brand": brand_id or "", "event_types": list(event_types or ())})


def _features(
    client: Client,
    source: Source,
    feature_date: date | str | None,
    brand_id: str | None,
    limit: int | None,
    names: bool,
    content: bool,
    content_days: int,
    timezone: str,
) -> pa.Table:
    """Run the source's SELECT inside SELECTs that add names, add content, and sort.

    Raises:
        UsageError: the result is empty, or an argument is out of range.
    """
    day = source.newest(client, timezone) if feature_date is None else as_day("feature_date", feature_date)
    for name, number in (("limit", limit), ("content_days", content_days)):
        if number is not None and number < 1:
            raise UsageError(f"{name} is out of range", found=number, allowed="1 or more")
    brand = _brand(brand_id)
    users = sql = _sql(source.sql).render(brand=brand, limit="" if limit is None else "LIMIT {limit:UInt64}")
    if names:
        sql = _sql("names.sql").render(features=sql)
    if content:
        # Without a limit almost all users are wanted, so a filter would not pay.
        wanted = f" AND user_id IN (SELECT user_id FROM ({users}))" if limit else ""
        sql = _sql("content.sql").render(features=sql, users=f"{brand} AND user_id != ''{wanted}")
    parameters = {
        "date": day,
        "since": day - (content_days - 1) * DAY,
        "until": day + DAY,
        "timezone": timezone,
        "brand": brand_id or "",
        "limit": limit or 0,
    }
    features = client.table(_sql("in_order.sql").render(features=sql), parameters)
    if features.num_rows == 0:
        raise source.empty(client, day, brand_id)
    return features


def _latest_snapshot(client: Client, timezone: str) -> date:
    latest: date | None = client.value(_sql("latest_snapshot.sql").text)
    if latest is None:
        raise UsageError(
            "customer_user_features holds no snapshot",
            next_step="compute a snapshot with `raypipe features --date D`, or use load_session_features",
        )
    return latest


def _last_session(client: Client, timezone: str) -> date:
    last: date | None = client.value(_sql("last_session.sql").text, {"timezone": timezone})
    if last is None:
        raise UsageError("customer_sessions is empty", next_step="fill it, or try with `raypipe demo`")
    return last


def _no_session(client: Client, day: date, brand_id: str | None) -> UsageError:
    return UsageError(
        "There is no session of a known reader to compute features from",
        found=f"feature_date {day}" + (f", brand_id {brand_id}" if brand_id else ""),
        allowed="a day on or after the first row of customer_sessions, and a brand that occurs there",
        next_step="choose another feature_date or brand_id",
    )


def _no_snapshot(client: Client, day: date, brand_id: str | None) -> UsageError:
    """Explain an empty result: there is no snapshot of the day, or it lacks the brand."""
    nearest = client.rows(_sql("snapshots.sql").text, {"date": day, "count": NEAREST_SNAPSHOTS})
    dates = [row[0] for row in nearest]
    if day in dates:
        return UsageError(
            f"The snapshot of {day} has no user of this brand",
            found=f"brand_id {brand_id!r}",
            allowed="a brand_id of customer_user_features",
        )
    return UsageError(
        "There is no snapshot of this date in customer_user_features",
        found=day,
        allowed=f"the nearest are {', '.join(map(str, dates))}" if dates else "none yet: the table is empty",
        next_step=f"compute it with `raypipe features --date {day}`, or use load_session_features",
    )


def _period(start: date | str, end: date | str) -> tuple[date, date]:
    first, last = as_day("start", start), as_day("end", end)
    if last < first:
        raise UsageError("The end is before the start", found=f"{first} to {last}", allowed="start <= end")
    return first, last


def _brand(brand_id: str | None) -> str:
    # No predicate without a brand: `x = '' OR brand_id = x` would not prune.
    return "1" if brand_id is None else "brand_id = {brand:String}"


def _sql(name: str) -> Statement:
    return load(shipped() / "sql" / "loaders" / name)
