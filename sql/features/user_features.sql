-- grain: (company_id, brand_id, user_id), a row of customer_user_features per user with a session up to the end of the day
-- parameters: date Date (the snapshot), timezone String (of the days), run_at DateTime (the time of writing)
-- placeholders: totals (session_totals.sql, or a table of its rows), words (session_words.sql, or a table of its row)
-- units: durations in seconds, engagement as in customer_sessions, newsletter_signup_rate in sign-ups per session
-- ties: a preferred value is the most frequent, among equals the first in order; current values are from the last session
-- left out: churn_risk_score and churn_probability are another model's output and keep their defaults
WITH
    ({words}) AS words,
    (number, list) -> transform(number, range(toUInt32(1), toUInt32(length(list) + 1)), list, '') AS value_of,
    -- The number with the highest count so far; among equals the lowest.
    numbers -> toUInt32(4294967295 - bitAnd(4294967295, arrayMax((n, seen) -> bitShiftLeft(toUInt64(seen), 32) + 4294967295 - n, numbers, arrayEnumerateUniq(numbers)))) AS most_frequent
SELECT
    UUIDNumToString(murmurHash3_128(company_id, brand_id, user_id, toUInt16({date:Date}))) AS user_feature_id,
    user_id,
    company_id,
    brand_id,
    {date:Date} AS feature_date,
    {include:shared/session_measures.sql},
    brand_id AS preferred_brand_id,
    value_of(most_frequent(category_list), words.6) AS preferred_category_id,
    value_of(most_frequent(device_list), words.1) AS preferred_device_type_id,
    value_of(most_frequent(system_list), words.2) AS preferred_os_id,
    value_of(most_frequent(browser_list), words.3) AS preferred_browser_id,
    value_of(most_frequent(country_list), words.4) AS primary_country_code,
    value_of(most_frequent(city_list), words.5) AS primary_city_id,
    splitByChar('\0', last_standing.2)[1] AS current_subscription_tier,
    splitByChar('\0', last_standing.2)[2] AS current_user_segment,
    toDate(first_start, {timezone:String}) AS first_session_date,
    toDate(last_start, {timezone:String}) AS last_session_date,
    toUInt16(least(65535, days)) AS days_active,
    {date:Date} - last_session_date AS days_since_last_session,
    days_since_last_session = 0 AS active_today,
    days_since_last_session < 7 AS active_last_7_days,
    days_since_last_session < 30 AS active_last_30_days,
    '{}' AS ml_features,
    {run_at:DateTime} AS created_at,
    {run_at:DateTime} AS updated_at
FROM
(
    SELECT
        *,
        sessions AS total_sessions,
        seconds / sessions AS avg_session_duration_sec,
        least_seconds AS min_session_duration_sec,
        most_seconds AS max_session_duration_sec,
        sqrt(greatest(0, squared_seconds / sessions - avg_session_duration_sec * avg_session_duration_sec)) AS std_session_duration_sec,
        events / sessions AS avg_events_per_session,
        pages / sessions AS avg_pages_per_session,
        categories / sessions AS avg_categories_diversity,
        views / sessions AS avg_article_views,
        clicks / sessions AS avg_article_clicks,
        plays / sessions AS avg_video_plays,
        all_searches / sessions AS avg_searches,
        toUInt16(least(65535, signups)) AS total_newsletter_signups,
        toUInt16(least(65535, all_ad_clicks)) AS total_ad_clicks,
        engagement / sessions AS avg_engagement_score,
        most_engagement AS max_engagement_score,
        least_engagement AS min_engagement_score,
        signups > 0 AS has_newsletter,
        signups / sessions AS newsletter_signup_rate
    FROM ({totals})
)
