"""The features in ml_features: name, type, unit and definition of each, in the order of ml_features.sql."""

from dataclasses import dataclass

WINDOW_DAYS = 28
EVENTS_BY_TYPE, CONTENT_BY_TYPE = "events_by_type", "content_by_type"

_COUNT, _NUMBER, _LARGE, _MAP = "UInt32", "Float32", "Float64", "Map(String, UInt32)"
_WEIGHTED = "each counting 2^(-n/7) when n days old"
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
    Definition("sessions_7d", _COUNT, "Sessions, last 7 days."),
    Definition("sessions_28d", _COUNT, "Sessions."),
    Definition("sessions_weighted", _NUMBER, f"Sessions, {_WEIGHTED}."),
    Definition("sessions_trend", _NUMBER, f"Sessions: {_TREND}."),
    Definition("active_days_28d", _COUNT, "Days with a session."),
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
