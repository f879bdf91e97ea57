-- grain: none of its own; the columns that pipelines over customer_user_features read, `FROM customer_user_features`
-- missing: a quotient whose count is 0, or whose first day is 1970-01-01, is NULL
-- units: durations in seconds, engagement in points of 100, rates and shares from 0 to 1
-- cost: a pipeline's query computes only the columns that its config names
company_id,
brand_id,
user_id,
{include:shared/session_measures.sql},
days_active,
days_since_last_session,
active_last_7_days,
toInt32(feature_date - nullIf(first_session_date, toDate(0))) + 1 AS tenure_days,
toFloat32(7 * total_sessions / tenure_days) AS sessions_per_week,
toFloat32(days_active / tenure_days) AS active_days_share,
toFloat32(total_sessions / nullIf(days_active, 0)) AS sessions_per_active_day,
max_engagement_score - min_engagement_score AS engagement_range,
toFloat32(avg_article_clicks / nullIf(avg_article_views, 0)) AS clicks_per_view,
toFloat32(total_ad_clicks / nullIf(total_sessions, 0)) AS ad_clicks_per_session,
toFloat32(days_since_last_session / tenure_days) AS recency_share,
current_subscription_tier,
current_user_segment,
preferred_device_type_id,
preferred_os_id,
preferred_browser_id,
preferred_category_id,
primary_country_code,
primary_city_id
