-- grain: (date, brand_id, country_code, device_type_id, subscription_tier, user_segment)
-- parameters: written_at DateTime
-- units: duration in seconds
INSERT INTO customer_session_summary_daily
SELECT
    toDate(session_start, 'UTC') AS date,
    brand_id,
    country_code,
    device_type_id,
    subscription_tier,
    user_segment,
    count() AS total_sessions,
    uniqExact(user_id) AS total_users,
    avg(session_duration_sec) AS avg_session_duration_sec,
    avg(total_events) AS avg_events_per_session,
    sum(article_views) AS total_article_views,
    sum(video_plays) AS total_video_plays,
    sum(newsletter_signups) AS total_newsletter_signups,
    sum(ad_clicks) AS total_ad_clicks,
    {written_at:DateTime} AS created_at
FROM customer_sessions
GROUP BY date, brand_id, country_code, device_type_id, subscription_tier, user_segment;
