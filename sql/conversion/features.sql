-- grain: (company_id, brand_id, user_id), users on the free tier with a session in the 30 days up to the snapshot
-- parameters: date Date (the snapshot)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- free: the snapshot holds the tier of the last session, which may be older than a subscription; user_accounts knows the day it began
-- missing: 0 and 1970-01-01 where a quotient needs a count or a first day; the feature is NULL then
-- units: durations in seconds, engagement in points of 100, rates and shares from 0 to 1
SELECT
    company_id,
    brand_id,
    user_id,
    total_sessions,
    avg_session_duration_sec,
    max_session_duration_sec,
    avg_events_per_session,
    avg_pages_per_session,
    avg_categories_diversity,
    avg_article_views,
    avg_article_clicks,
    avg_video_plays,
    avg_searches,
    total_newsletter_signups,
    avg_engagement_score,
    max_engagement_score,
    min_engagement_score,
    has_newsletter,
    days_active,
    days_since_last_session,
    active_last_7_days,
    toInt32(feature_date - nullIf(first_session_date, toDate(0))) + 1 AS tenure_days,
    toFloat32(7 * total_sessions / tenure_days) AS sessions_per_week,
    toFloat32(days_active / tenure_days) AS active_days_share,
    toFloat32(total_ad_clicks / nullIf(total_sessions, 0)) AS ad_clicks_per_session,
    current_user_segment,
    preferred_device_type_id,
    preferred_category_id,
    primary_country_code
FROM customer_user_features
WHERE feature_date = {date:Date} AND active_last_30_days = 1 AND current_subscription_tier IN ('free', '')
    AND (company_id, brand_id, user_id) NOT IN (
        SELECT company_id, brand_id, user_id
        FROM user_accounts FINAL
        WHERE subscription_tier NOT IN ('free', '') AND subscription_start_date <= {date:Date}
    )
    AND {slice}
