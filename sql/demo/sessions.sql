-- grain: (session_id), the sessions of the days from first to until
-- parameters: seed UInt64, first Date, until Date (days within one month), written_at DateTime, batch String
-- units: durations in seconds, engagement in quarter points of 100 (so that sums are exact in any order), scroll depth in percent
INSERT INTO customer_sessions
    (session_id, user_id, company_id, brand_id, account_id, country_code, city_id, timezone, device_type_id, os_id, browser_id,
     referrer, user_segment, subscription_tier, session_start, session_end, session_duration_sec, total_events, article_views,
     article_clicks, video_plays, newsletter_signups, ad_clicks, searches, pages_visited_count, unique_pages_count,
     unique_categories_count, categories_visited, article_ids_visited, article_titles_visited, page_events, engagement_score,
     scroll_depth_avg, time_on_page_avg, metadata, created_at, updated_at, batch_id)
WITH
    {include:demo/chance.sql},
    {include:demo/visits.sql},
    {include:demo/qualities.sql},
    {include:demo/clicking.sql},
    {include:demo/engaged.sql},
    {include:demo/topics.sql},
    (SELECT groupArray((toUInt16(day), weight, weekend_weight)) FROM (SELECT * FROM demo_days WHERE day BETWEEN {first:Date} AND {until:Date} ORDER BY day)) AS days,
    (SELECT toUInt16(if(countIf(drifted) = 0, toDate('2149-06-06'), minIf(day, drifted))) FROM demo_days) AS drift_day,
    (SELECT groupArray(toString(arm)) FROM (SELECT * FROM demo_arms WHERE device = 1 ORDER BY arm)) AS arm_names,
    (SELECT groupArray(click_rate) FROM (SELECT * FROM demo_arms ORDER BY device, arm)) AS click_rates,
    (SELECT groupArray(shown) FROM (SELECT sum(propensity) OVER (PARTITION BY device ORDER BY arm) AS shown FROM demo_arms ORDER BY device, arm)) AS shown_below
SELECT
    UUIDNumToString(murmurHash3_128(key, day, visit)) AS session_id,
    user_id,
    company_id,
    brand_id,
    account_id,
    ['GB', 'US', 'DE', 'FR', 'ES', 'IT', 'NL', 'SE'][country] AS country_code,
    UUIDNumToString(murmurHash3_128('city', toUInt64(here))) AS city_id,
    'UTC' AS timezone,
    UUIDNumToString(murmurHash3_128('device', toUInt64(screen))) AS device_type_id,
    UUIDNumToString(murmurHash3_128('os', toUInt64(multiIf(screen = device, os, screen = 2, 3, 1)))) AS os_id,
    UUIDNumToString(murmurHash3_128('browser', toUInt64(screen = device ? browser : 1))) AS browser_id,
    -- Readers who mind the price search, and readers of newsletters come from them.
    multiIf(
        uniform(s, 3) < (price_sensitivity > 0 ? 0.45 : 0.15), 'search',
        uniform(s, 27) < (newsletter_reader ? 0.5 : 0.05), 'newsletter',
        uniform(s, 28) < 0.3, 'social',
        'direct') AS referrer,
    segment AS user_segment,
    initial_tier = 'free' AND paying ? paid_tier : initial_tier AS subscription_tier,
    toDateTime(toDate(day), 'UTC') + second_of_day AS session_start,
    session_start + session_duration_sec AS session_end,
    -- A session ends on the day on which it began.
    toUInt32(least(toFloat64(86399 - second_of_day), 5 + exp(4.8 + 0.6 * interest + 0.25 * normal(s, 6)))) AS session_duration_sec,
    article_views + article_clicks + video_plays + newsletter_signups + searches + (arm > 0) + ad_clicks AS total_events,
    toUInt16(length(read)) AS article_views,
    toUInt16(arraySum(clicked)) AS article_clicks,
    toUInt16(floor(-log(uniform(s, 8)) * 0.6)) AS video_plays,
    toUInt16(uniform(s, 9) < (newsletter_reader ? 0.25 : 0.005)) AS newsletter_signups,
    toUInt16(arm > 0 AND uniform(s, 14) < click_rates[(screen - 1) * 4 + arm]) AS ad_clicks,
    toUInt16(floor(-log(uniform(s, 10)) * 0.7 * exp(0.9 * price_sensitivity))) AS searches,
    toUInt16(1 + length(read) + searches + floor(-log(uniform(s, 11)) * (0.5 + exp(0.5 * interest)))) AS pages_visited_count,
    toUInt16(greatest(1, pages_visited_count - floor(uniform(s, 12) * 2))) AS unique_pages_count,
    toUInt16(length(topics)) AS unique_categories_count,
    toJSONString(arrayMap(t -> UUIDNumToString(murmurHash3_128('category', toUInt64((brand - 1) * 8 + t))), topics)) AS categories_visited,
    toJSONString(arrayMap(code -> UUIDNumToString(murmurHash3_128(brand_key, code)), read)) AS article_ids_visited,
    '[]' AS article_titles_visited,
    toJSONString(clicked) AS page_events,
    round(4 * greatest(0, least(100, (day >= drift_day ? 0.75 : 1) * (engaged(weekend, paying AND is_turning, topics_read[1] = topic, qualities[1]) + 7 * normal(s, 16))))) / 4 AS engagement_score,
    toUInt8(greatest(5, least(100, 50 + 8 * interest + 5 * qualities[1] + 10 * normal(s, 18)))) AS scroll_depth_avg,
    toUInt32(session_duration_sec / pages_visited_count) AS time_on_page_avg,
    arm = 0 ? '{}' : concat('{"arm":"', arm_names[arm], '"}') AS metadata,
    {written_at:DateTime} AS created_at,
    {written_at:DateTime} AS updated_at,
    {batch:String} AS batch_id
FROM
(
    SELECT
        *,
        toUInt32(21600 + 32000 * (uniform(s, 4) + uniform(s, 5))) AS second_of_day,
        multiIf(
            day >= drift_day AND uniform(s, 20) < 0.35, 1,
            uniform(s, 21) < 0.85, device,
            1 + toUInt8(floor(uniform(s, 22) * 3))) AS screen,
        uniform(s, 23) < 0.9 ? city : (country - 1) * 3 + 1 + toUInt8(floor(uniform(s, 24) * 3)) AS here,
        -- 0 if no ad was shown, otherwise the arm's number, drawn by the propensities of the device.
        uniform(s, 25) < 0.5 ? 0 : 1 + arrayCount(i -> uniform(s, 26) >= shown_below[(screen - 1) * 4 + i], [1, 2, 3]) AS arm,
        -- An article's number is its day * 8 + topic; the topics are drawn as in topics.sql.
        arrayDistinct(arrayMap(
            i -> toUInt32((day - toUInt16(least(13, floor(-log(uniform(s, 30 + i)) * 2)))) * 8 + drawn(uniform(s, 50 + i), weekend, is_turning)),
            range(1 + toUInt8(least(7, floor(-log(uniform(s, 29)) * (0.5 + exp(0.4 * interest)))))))) AS read,
        arrayMap(code -> toUInt8(code % 8), read) AS topics_read,
        arraySort(arrayDistinct(topics_read)) AS topics,
        arrayMap(code -> quality_of(brand_key, brand, code), read) AS qualities,
        arrayMap(
            (code, quality) -> uniform(cityHash64(s, code), 1) < click(code % 8, quality, author_of(brand_key, code), type_of(brand_key, code), screen),
            read, qualities) AS clicked
    FROM
    (
        SELECT *, arrayJoin(uniform(cityHash64(key, day), 2) < repeat_rate ? [0, 1] : [0]) AS visit, cityHash64(key, day, visit) AS s,
            cityHash64({seed:UInt64}, 'articles', brand) AS brand_key, toDayOfWeek(toDate(day)) > 5 AS weekend, pays(day) AS paying, turning(day) AS is_turning
        FROM
        (
            SELECT
                *,
                arrayJoin(arrayFilter(
                    (d, w) -> -log((cityHash64(key, d) + 0.5) / 18446744073709551616.) < visits(d, w),
                    days.1,
                    weekend_reader ? days.3 : days.2)) AS day
            FROM demo_truth
        )
    )
)
