-- grain: date, over every country, device, tier and segment of a brand
-- parameters: brand String, start Date, end Date (both days included)
-- units: durations in seconds; total_users adds up the users of each cell, so a reader with two devices counts twice
SELECT
    date,
    sum(s.total_sessions) AS total_sessions,
    sum(s.total_users) AS total_users,
    -- The engine adds up averages like counts: a mean over cells is weighted by their sessions.
    sum(toFloat64(s.avg_session_duration_sec) * s.total_sessions) / nullIf(sum(s.total_sessions), 0)
        AS avg_session_duration_sec,
    sum(toFloat64(s.avg_events_per_session) * s.total_sessions) / nullIf(sum(s.total_sessions), 0)
        AS avg_events_per_session,
    sum(s.total_article_views) AS total_article_views,
    sum(s.total_video_plays) AS total_video_plays,
    sum(s.total_newsletter_signups) AS total_newsletter_signups,
    sum(s.total_ad_clicks) AS total_ad_clicks
FROM customer_session_summary_daily AS s
PREWHERE date >= {start:Date} AND date <= {end:Date} AND brand_id = {brand:String}
GROUP BY date
ORDER BY date
