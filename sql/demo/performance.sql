-- grain: (performance_date, article_id, brand_id), twice if part of the day was counted late
-- parameters: late UInt8 (0: counted at once, 1: counted later), written_at DateTime
-- units: completion, bounce and quality as shares from 0 to 1, engagement in points of 100
INSERT INTO editorial_article_performance
    (performance_id, article_id, brand_id, performance_date, total_views, unique_views, unique_readers, total_clicks, total_shares,
     avg_time_on_page_sec, avg_scroll_depth, completion_rate, bounce_rate, direct_views, search_views, social_views, newsletter_views,
     desktop_views, mobile_views, tablet_views, top_countries, top_cities, engagement_score, quality_score, created_at, updated_at)
SELECT
    UUIDNumToString(murmurHash3_128(article_id, brand_id, toUInt16(performance_date), {late:UInt8})) AS performance_id,
    article_id,
    brand_id,
    toDate(event_timestamp, 'UTC') AS performance_date,
    countIf(event_type = 'view') AS total_views,
    uniqExactIf(user_id, event_type = 'view') AS unique_views,
    uniqExact(user_id) AS unique_readers,
    countIf(event_type = 'click') AS total_clicks,
    countIf(event_type = 'share') AS total_shares,
    toUInt32(round(avg(measured.1))) AS avg_time_on_page_sec,
    toUInt8(round(avg(measured.2))) AS avg_scroll_depth,
    countIf(measured.2 >= 60) / count() AS completion_rate,
    countIf(measured.1 < 20) / count() AS bounce_rate,
    countIf(referrer_type = 'direct') AS direct_views,
    countIf(referrer_type = 'search') AS search_views,
    countIf(referrer_type = 'social') AS social_views,
    countIf(referrer_type = 'newsletter') AS newsletter_views,
    countIf(event_type = 'view' AND device_type_id = UUIDNumToString(murmurHash3_128('device', toUInt64(2)))) AS desktop_views,
    countIf(event_type = 'view' AND device_type_id = UUIDNumToString(murmurHash3_128('device', toUInt64(1)))) AS mobile_views,
    countIf(event_type = 'view' AND device_type_id = UUIDNumToString(murmurHash3_128('device', toUInt64(3)))) AS tablet_views,
    '[]' AS top_countries,
    '[]' AS top_cities,
    toFloat32(100 * total_clicks / greatest(1, total_views)) AS engagement_score,
    toFloat32(completion_rate) AS quality_score,
    {written_at:DateTime} AS created_at,
    {written_at:DateTime} AS updated_at
FROM
(
    SELECT *, JSONExtract(engagement_metrics, 'Tuple(time_on_page UInt32, scroll_depth UInt8)') AS measured
    FROM editorial_content_events
    WHERE (cityHash64(article_id, toDate(event_timestamp, 'UTC')) % 40 = 0 AND toHour(event_timestamp, 'UTC') >= 18) = {late:UInt8}
)
GROUP BY article_id, brand_id, performance_date;
