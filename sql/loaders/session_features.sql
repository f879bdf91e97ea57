-- grain: (company_id, brand_id, user_id), known readers with a session up to the end of the day
-- parameters: date Date, timezone String (of the days), brand String, limit UInt64 (each if its placeholder needs it)
-- placeholders: brand (a predicate or 1), limit (a LIMIT clause or nothing)
-- units: as in user_features.sql
-- ties: as in features/user_features.sql; a test compares the two row by row
WITH
    values -> arraySort(values)[indexOf(arrayEnumerateUniq(arraySort(values)) AS seen, arrayMax(seen))] AS most_frequent
SELECT
    company_id,
    brand_id,
    user_id,
    {date:Date} AS feature_date,
    toUInt32(sessions) AS total_sessions,
    toFloat32(mean_duration) AS avg_session_duration_sec,
    shortest AS min_session_duration_sec,
    longest AS max_session_duration_sec,
    toFloat32(spread) AS std_session_duration_sec,
    toFloat32(mean_events) AS avg_events_per_session,
    toFloat32(mean_pages) AS avg_pages_per_session,
    toFloat32(mean_categories) AS avg_categories_diversity,
    toFloat32(mean_views) AS avg_article_views,
    toFloat32(mean_clicks) AS avg_article_clicks,
    toFloat32(mean_plays) AS avg_video_plays,
    toFloat32(mean_searches) AS avg_searches,
    toUInt16(least(65535, signups)) AS total_newsletter_signups,
    toUInt16(least(65535, ad_clicked)) AS total_ad_clicks,
    toFloat32(mean_engagement) AS avg_engagement_score,
    highest_engagement AS max_engagement_score,
    lowest_engagement AS min_engagement_score,
    toUInt8(signups > 0) AS has_newsletter,
    toFloat32(signups / sessions) AS newsletter_signup_rate,
    brand_id AS preferred_brand_id,
    most_frequent(category_list) AS preferred_category_id,
    most_frequent(device_list) AS preferred_device_type_id,
    most_frequent(system_list) AS preferred_os_id,
    most_frequent(browser_list) AS preferred_browser_id,
    most_frequent(country_list) AS primary_country_code,
    most_frequent(city_list) AS primary_city_id,
    last_standing.1 AS current_subscription_tier,
    last_standing.2 AS current_user_segment,
    toDate(first_start, {timezone:String}) AS first_session_date,
    toDate(last_start, {timezone:String}) AS last_session_date,
    toUInt16(least(65535, days)) AS days_active,
    toUInt16({date:Date} - last_session_date) AS days_since_last_session,
    toUInt8(days_since_last_session = 0) AS active_today,
    toUInt8(days_since_last_session < 7) AS active_last_7_days,
    toUInt8(days_since_last_session < 30) AS active_last_30_days
FROM (
    SELECT
        any(session.company_id) AS company_id,
        any(session.brand_id) AS brand_id,
        any(session.user_id) AS user_id,
        count() AS sessions,
        avg(session_duration_sec) AS mean_duration,
        min(session_duration_sec) AS shortest,
        max(session_duration_sec) AS longest,
        stddevPop(session_duration_sec) AS spread,
        avg(total_events) AS mean_events,
        avg(pages_visited_count) AS mean_pages,
        avg(unique_categories_count) AS mean_categories,
        avg(article_views) AS mean_views,
        avg(article_clicks) AS mean_clicks,
        avg(video_plays) AS mean_plays,
        avg(searches) AS mean_searches,
        sum(newsletter_signups) AS signups,
        sum(ad_clicks) AS ad_clicked,
        avg(engagement_score) AS mean_engagement,
        max(engagement_score) AS highest_engagement,
        min(engagement_score) AS lowest_engagement,
        groupArrayArray(JSONExtract(categories_visited, 'Array(String)')) AS category_list,
        groupArray(device_type_id) AS device_list,
        groupArray(os_id) AS system_list,
        groupArray(browser_id) AS browser_list,
        groupArray(country_code) AS country_list,
        groupArray(city_id) AS city_list,
        -- The last session; among sessions that began in the same second, always the same.
        argMax(
            (subscription_tier, user_segment),
            bitShiftLeft(toUInt64(toUnixTimestamp(session_start)), 32) + bitShiftRight(cityHash64(session_id), 32)
        ) AS last_standing,
        min(session_start) AS first_start,
        max(session_start) AS last_start,
        uniqExact(toUInt16(toDate(session_start, {timezone:String}))) AS days
    FROM customer_sessions AS session
    PREWHERE session_start < toDateTime({date:Date} + 1, {timezone:String}) AND {brand}
    WHERE session.user_id != ''
    -- A hash of 128 bits stands for the key of three long strings: half the time, and no collisions.
    GROUP BY murmurHash3_128(session.company_id, session.brand_id, session.user_id)
)
ORDER BY total_sessions DESC, company_id, brand_id, user_id
{limit}
