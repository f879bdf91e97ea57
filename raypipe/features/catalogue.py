"""The features in ml_features: name, type, unit and definition of each, in the order of ml_features.sql."""

from dataclasses import dataclass

WINDOW_DAYS = 28
LONG_WINDOW_DAYS = 84
EVENTS_BY_TYPE, CONTENT_BY_TYPE = "events_by_type", "content_by_type"

_COUNT, _NUMBER, _LARGE, _MAP = "UInt32", "Float32", "Float64", "Map(String, UInt32)"
_WEIGHTED = "each counting 2^(-n/7) when n days old"
_SLOW = "each counting 2^(-n/28) when n days old, last 84 days"
_TREND_84 = "3 × the last 28 days / all 84, less 1: 0 is steady, -1 none lately, 2 all lately; null without any"
_FAVOURITE = "the favourite category, the category with the most events in 84 days"
_TREND = "4 × the last 7 days / all 28, less 1: 0 is steady, -1 none lately, 3 all lately; null without any"


@dataclass(frozen=True)
class Definition:
    """A feature of ml_features.

    Attributes:
        type: the ClickHouse type to read it as; inside Nullable, except for a map.
        description: its definition, over the 28 days up to and including the snapshot's where no days are named.
    """

    name: str
    type: str
    description: str

    @property
    def is_map(self) -> bool:
        """Return whether it is an object with a number per event type."""
        return self.type == _MAP


DEFINITIONS = (
    Definition("articles_viewed", _COUNT, "Distinct articles with an event of the reader in editorial_content_events."),
    Definition(
        "avg_article_engagement",
        _NUMBER,
        "Mean over those articles of engagement_score weighted by views, in its points; null when none has views.",
    ),
    Definition("total_article_views", _LARGE, "Views of those articles by all readers."),
    Definition("unique_authors_followed", _COUNT, "Distinct authors of those articles."),
    Definition("categories_engaged", _COUNT, "Distinct categories of those articles."),
    Definition("sections_engaged", _COUNT, "Distinct parent categories of those articles, or categories without one."),
    Definition("avg_article_age_days", _NUMBER, "Mean age of an article when it was read, in days."),
    Definition("content_events_7d", _COUNT, "Events in editorial_content_events, last 7 days."),
    Definition("content_events_28d", _COUNT, "Events in editorial_content_events."),
    Definition("content_events_weighted", _NUMBER, f"Events in editorial_content_events, {_WEIGHTED}."),
    Definition("content_events_trend", _NUMBER, f"Events in editorial_content_events: {_TREND}."),
    Definition(CONTENT_BY_TYPE, _MAP, "Events in editorial_content_events by event_type, such as view or share."),
    Definition(
        "read_quality_trend",
        _NUMBER,
        "Mean engagement_score of the articles over the last 7 days' events less that over all 28; null without any.",
    ),
    Definition("category_events_84d", _COUNT, "Events on articles of a known category, last 84 days."),
    Definition("category_events_trend_84d", _NUMBER, f"Events on articles of a known category: {_TREND_84}."),
    Definition(
        "category_concentration",
        _NUMBER,
        "Probability that two of these events are of one category; null with fewer than two.",
    ),
    Definition("favourite_share", _NUMBER, f"(Events of {_FAVOURITE}, + 1) / (all + 4)."),
    Definition(
        "favourite_change",
        _NUMBER,
        "Share of the favourite category in the last 21 days less its share in the 63 days before, drawn towards 0 by"
        " two events; null without events in either.",
    ),
    Definition(
        "favourite_z",
        _NUMBER,
        "The same change in standard errors: -3 is a reader who has clearly stopped reading the favourite category.",
    ),
    Definition(
        "favourite_quality",
        _NUMBER,
        "avg_engagement_score of the favourite category in editorial_category_performance, weighted by views.",
    ),
    Definition("favourite_quality_trend", _NUMBER, "The same over 28 days less that over 84 days."),
    Definition(
        "favourite_quality_trend_before", _NUMBER, "The same over the 28 days before these 28, less that over 84 days."
    ),
    Definition(
        "favourite_demand",
        _NUMBER,
        "Views of the favourite category by all readers: 6 × the last 14 days / all 84, less 1.",
    ),
    Definition("favourite_demand_7d", _NUMBER, "The same views: 12 × the last 7 days / all 84, less 1."),
    Definition("favourite_idle_days", _COUNT, "Days since the last event of the favourite category; null without any."),
    Definition("sessions_7d", _COUNT, "Sessions, last 7 days."),
    Definition("sessions_28d", _COUNT, "Sessions."),
    Definition("sessions_weighted", _NUMBER, f"Sessions, {_WEIGHTED}."),
    Definition("sessions_trend", _NUMBER, f"Sessions: {_TREND}."),
    Definition("active_days_28d", _COUNT, "Days with a session."),
    Definition("sessions_84d", _COUNT, "Sessions, last 84 days."),
    Definition("sessions_weighted_2", _NUMBER, "Sessions, each counting 2^(-n/2) when n days old."),
    Definition("sessions_weighted_28", _NUMBER, f"Sessions, {_SLOW}."),
    Definition("sessions_trend_84d", _NUMBER, f"Sessions: {_TREND_84}."),
    Definition("active_days_84d", _COUNT, "Days with a session, last 84 days."),
    Definition(
        "weekend_share", _NUMBER, "(Saturdays and Sundays with a session, + 2) / (days with a session + 7), 84 days."
    ),
    Definition(
        "visits_missed",
        _NUMBER,
        "Visits expected since the last session by the reader's own rates of weekdays and weekends in 84 days.",
    ),
    Definition(
        "longest_pause_days",
        _COUNT,
        "Days from one day with a session to the next where they are farthest apart, last 84 days; null with fewer than"
        " two.",
    ),
    Definition("pause_ended_days", _COUNT, "Days since the end of that pause; of equal pauses, the last counts."),
    Definition("first_active_days", _COUNT, "Days since the first of the days with a session, last 84 days."),
    Definition("log_session_sec", _NUMBER, "Mean of log(1 + seconds) of the sessions of 84 days."),
    Definition("search_share", _NUMBER, "(Sessions from a search, + 0.5) / (sessions + 2), last 84 days."),
    Definition("newsletter_share", _NUMBER, "(Sessions from a newsletter, + 0.5) / (sessions + 2), last 84 days."),
    Definition(
        "engagement_level",
        _NUMBER,
        f"Mean engagement_score of the sessions, {_SLOW}, and two sessions of the mean of all readers added.",
    ),
    Definition("engagement_7d", _NUMBER, "Sum of the sessions' engagement_score, last 7 days, in its points."),
    Definition("engagement_28d", _NUMBER, "Sum of the sessions' engagement_score, in its points."),
    Definition("engagement_weighted", _NUMBER, f"Sum of the sessions' engagement_score, {_WEIGHTED}."),
    Definition(
        "engagement_trend",
        _NUMBER,
        "Mean engagement_score of the last 7 days' sessions less that of all 28, in its points; null without any.",
    ),
    Definition("events_7d", _COUNT, "Events in customer_events, last 7 days."),
    Definition("events_28d", _COUNT, "Events in customer_events."),
    Definition("events_weighted", _NUMBER, f"Events in customer_events, {_WEIGHTED}."),
    Definition("events_trend", _NUMBER, f"Events in customer_events: {_TREND}."),
    Definition(EVENTS_BY_TYPE, _MAP, "Events in customer_events by event_type, such as article_view or search."),
    Definition("avg_time_on_page_sec", _NUMBER, "Mean time_on_page of the events' engagement_metrics, in seconds."),
    Definition("avg_scroll_depth", _NUMBER, "Mean scroll_depth of the events' engagement_metrics, in percent."),
    Definition("unreadable_events", _COUNT, "Events in customer_events whose engagement_metrics are no JSON object."),
)
