-- grain: person (a hash of company_id, brand_id, user_id), every user with a session or an event in the window
-- parameters: date Date (the last day of the window)
-- placeholders: session_days (session_days.sql, or a table of its rows), event_days (event_days.sql, or a table of its rows)
-- window: 84 days of sessions and 28 days of events up to and including the date; a suffix such as _7d names another number of days
-- units: engagement in points of engagement_score, time_on_page in seconds, scroll_depth in percent; NULL without any reading
-- weighted: a session or event n days ago counts 2^(-n/7), or 2^(-n/2) and 2^(-n/28), in multiples of 1/1048576 so that a sum is the same in any order
SELECT
    person,
    sumIf(sessions, age < 7) AS sessions_7d,
    sumIf(sessions, age < 28) AS sessions_28d,
    sum(sessions) AS sessions_84d,
    sumIf(sessions * weight, age < 28) / 1048576 AS sessions_weighted,
    sumIf(sessions * toUInt64(round(1048576 * exp2(-age / 2))), age < 28) / 1048576 AS sessions_weighted_2,
    sum(sessions * slow) / 1048576 AS sessions_weighted_28,
    countIf(sessions > 0 AND age < 28) AS active_days,
    countIf(sessions > 0) AS active_days_84d,
    countIf(sessions > 0 AND is_weekend) AS active_weekends_84d,
    minIf(age, sessions > 0) AS idle,
    sumIf(engagement, age < 7) AS engagement_7d,
    sumIf(engagement, age < 28) AS engagement_28d,
    sumIf(toInt64(round(engagement * weight)), age < 28) / 1048576 AS engagement_weighted,
    sum(toInt64(round(engagement * slow))) / 1048576 AS engagement_weighted_28,
    sum(log_seconds) / 1048576 AS log_seconds,
    sum(from_search) AS from_search,
    sum(from_newsletter) AS from_newsletter,
    sumIf(events, age < 7) AS events_7d,
    sum(events) AS events_28d,
    sum(events * weight) / 1048576 AS events_weighted,
    sumForEach(types) AS by_type,
    sum(time) / nullIf(sum(timed), 0) AS time_on_page,
    sum(scroll) / nullIf(sum(scrolled), 0) AS scroll_depth,
    sum(unreadable) AS unreadable_events
FROM
(
    SELECT
        *,
        toUInt64(round(1048576 * exp2(-age / 7))) AS weight,
        toUInt64(round(1048576 * exp2(-age / 28))) AS slow
    FROM
    (
        SELECT
            person,
            toUInt8({date:Date} - day) AS age,
            toDayOfWeek(day) > 5 AS is_weekend,
            sessions,
            engagement,
            log_seconds,
            from_search,
            from_newsletter,
            toUInt32(0) AS events,
            CAST([], 'Array(UInt64)') AS types,
            toFloat64(0) AS time,
            toUInt32(0) AS timed,
            toFloat64(0) AS scroll,
            toUInt32(0) AS scrolled,
            toUInt32(0) AS unreadable
        FROM ({session_days})
        WHERE day > {date:Date} - 84 AND day <= {date:Date}
        UNION ALL
        SELECT
            person,
            toUInt8({date:Date} - day) AS age,
            false,
            0,
            0,
            0,
            0,
            0,
            events,
            by_type,
            ifNull(time_on_page, 0),
            timed,
            ifNull(scroll_depth, 0),
            scrolled,
            unreadable
        FROM ({event_days})
        WHERE day > {date:Date} - 28 AND day <= {date:Date}
    )
)
GROUP BY person
