-- grain: person (a hash of company_id, brand_id, user_id), every known user with a session from first_session to date
-- parameters: first_session Date, date Date (the first and the last day; 1970-01-01: all before), timezone String (of the days)
-- placeholders: words (session_words.sql, or a table of its row)
-- units: durations in seconds, engagement as in customer_sessions
-- lists: the place of each session's device and so on in the words
WITH
    ({words}) AS words,
    (value, list) -> transform(value, list, range(toUInt32(1), toUInt32(length(list) + 1)), toUInt32(0)) AS number_of
SELECT
    -- A hash of 128 bits stands for the key of three long strings: half the time, and no collisions.
    murmurHash3_128(session.company_id, session.brand_id, session.user_id) AS person,
    any(session.user_id) AS user_id,
    any(session.company_id) AS company_id,
    any(session.brand_id) AS brand_id,
    count() AS sessions,
    sum(session_duration_sec) AS seconds,
    min(session_duration_sec) AS least_seconds,
    max(session_duration_sec) AS most_seconds,
    sum(toFloat64(session_duration_sec) * session_duration_sec) AS squared_seconds,
    sum(total_events) AS events,
    sum(pages_visited_count) AS pages,
    sum(unique_categories_count) AS categories,
    sum(article_views) AS views,
    sum(article_clicks) AS clicks,
    sum(video_plays) AS plays,
    sum(searches) AS all_searches,
    sum(newsletter_signups) AS signups,
    sum(ad_clicks) AS all_ad_clicks,
    sum(engagement_score) AS engagement,
    max(engagement_score) AS most_engagement,
    min(engagement_score) AS least_engagement,
    groupArrayArray(arrayMap(category -> number_of(category, words.6), JSONExtract(categories_visited, 'Array(String)'))) AS category_list,
    groupArray(number_of(device_type_id, words.1)) AS device_list,
    groupArray(number_of(os_id, words.2)) AS system_list,
    groupArray(number_of(browser_id, words.3)) AS browser_list,
    groupArray(number_of(country_code, words.4)) AS country_list,
    groupArray(number_of(city_id, words.5)) AS city_list,
    -- The last session; among sessions that began in the same second, always the same.
    max((bitShiftLeft(toUInt64(toUnixTimestamp(session_start)), 32) + bitShiftRight(cityHash64(session_id), 32), concat(subscription_tier, '\0', user_segment))) AS last_standing,
    min(session_start) AS first_start,
    max(session_start) AS last_start,
    uniqExact(toUInt16(toDate(session_start, {timezone:String}))) AS days
FROM customer_sessions AS session
WHERE ({first_session:Date} = toDate(0) OR session_start >= toDateTime({first_session:Date}, {timezone:String}))
    AND session_start < toDateTime({date:Date} + 1, {timezone:String}) AND session.user_id != ''
GROUP BY person
