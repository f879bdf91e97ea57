-- grain: (company_id, brand_id, user_id), every user of the snapshot
-- parameters: date Date (the snapshot)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- missing: NULL where a quotient needs a count or a first day
-- units: sessions_per_week and days_since_last_session as ln(1 + value), so that a few extreme readers do not make clusters of
--     their own; durations in seconds, engagement in points of 100, shares from 0 to 1
SELECT
    company_id,
    brand_id,
    user_id,
    total_sessions,
    avg_session_duration_sec,
    avg_engagement_score,
    newsletter_signup_rate,
    avg_pages_per_session,
    avg_categories_diversity,
    toInt32(feature_date - nullIf(first_session_date, toDate(0))) + 1 AS tenure_days,
    toFloat32(log1p(7 * total_sessions / tenure_days)) AS sessions_per_week,
    toFloat32(log1p(customer_user_features.days_since_last_session)) AS days_since_last_session,
    toFloat32(days_active / tenure_days) AS active_days_share,
    toFloat32(avg_article_clicks / nullIf(avg_article_views, 0)) AS clicks_per_view
FROM customer_user_features
WHERE feature_date = {date:Date} AND {slice}
