-- grain: (event_id), the events of the readers in the sample, as many as their sessions count
-- parameters: share_ppm UInt32 (readers in the sample, in millionths), written_at DateTime
-- metadata: of ad events {"arm", "propensity", "revenue"}, revenue in euro; an ad_click belongs to the session's ad_impression
INSERT INTO customer_events
    (event_id, session_id, user_id, company_id, brand_id, event_type, event_timestamp, article_id, article_title, article_type,
     category_id, page_url, country_code, city_id, timezone, device_type_id, os_id, browser_id, engagement_metrics, metadata, created_at)
SELECT
    UUIDNumToString(murmurHash3_128(session_id, position)) AS event_id,
    session_id,
    user_id,
    company_id,
    brand_id,
    event.1 AS event_type,
    session_start + intDiv(session_duration_sec * (position - 1), length(done)) AS event_timestamp,
    event.2 AS article_id,
    article.title AS article_title,
    article.article_type AS article_type,
    article.primary_category_id AS category_id,
    article.content_url AS page_url,
    country_code,
    city_id,
    timezone,
    device_type_id,
    os_id,
    browser_id,
    article_id = '' ? '{}' : concat('{"time_on_page":', toString(time_on_page_avg), ',"scroll_depth":', toString(scroll_depth_avg), '}') AS engagement_metrics,
    multiIf(
        event_type IN ('ad_impression', 'ad_click'), concat(
            '{"arm":"', arm.name, '","propensity":', toString(arm.propensity),
            ',"revenue":', toString(event_type = 'ad_click' ? arm.revenue_per_click : 0), '}'),
        event_type = 'article_view', concat('{"referrer":"', referrer, '"}'),
        '{}') AS metadata,
    {written_at:DateTime} AS created_at
FROM
(
    SELECT
        *,
        JSONExtractString(metadata, 'arm') AS shown,
        JSONExtract(article_ids_visited, 'Array(String)') AS articles,
        JSONExtract(page_events, 'Array(UInt8)') AS clicks,
        arrayConcat(
            shown = '' ? [] : [('ad_impression', '')],
            arrayMap(article -> ('article_view', article), articles),
            arrayMap(article -> ('article_click', article), arrayFilter((article, click) -> click, articles, clicks)),
            arrayMap(i -> ('video_play', articles[1]), range(video_plays)),
            arrayMap(i -> ('search', ''), range(searches)),
            arrayMap(i -> ('newsletter_signup', ''), range(newsletter_signups)),
            arrayMap(i -> ('ad_click', ''), range(ad_clicks))) AS done
    FROM customer_sessions
    WHERE cityHash64(user_id) % 1000000 < {share_ppm:UInt32}
) AS session
ARRAY JOIN done AS event, arrayEnumerate(done) AS position
ANY LEFT JOIN (SELECT article_id AS opened, title, article_type, primary_category_id, content_url FROM editorial_articles FINAL) AS article
    ON article.opened = event.2
ANY LEFT JOIN (SELECT device_type_id AS screen, arm AS name, propensity, revenue_per_click FROM demo_arms) AS arm
    ON arm.screen = session.device_type_id AND arm.name = session.shown;

-- The content platform counts the same views and clicks, adds shares, and does not know the reader of one session in thirty.
INSERT INTO editorial_content_events
    (event_id, article_id, brand_id, user_id, event_type, event_timestamp, category_id, author_id, country_code, city_id, device_type_id,
     os_id, browser_id, referrer, referrer_type, engagement_metrics, metadata, created_at)
SELECT
    UUIDNumToString(murmurHash3_128(event_id, kind)) AS event_id,
    article_id,
    brand_id,
    cityHash64(session_id) % 30 = 0 ? '' : user_id AS user_id,
    kind AS event_type,
    event_timestamp,
    category_id,
    article.primary_author_id AS author_id,
    country_code,
    city_id,
    device_type_id,
    os_id,
    browser_id,
    '' AS referrer,
    JSONExtractString(event.metadata, 'referrer') AS referrer_type,
    engagement_metrics,
    '{}' AS metadata,
    {written_at:DateTime} AS created_at
FROM
(
    SELECT
        *,
        arrayJoin(multiIf(event_type = 'article_click', ['click'], cityHash64(event_id) % 40 = 0, ['view', 'share'], ['view'])) AS kind
    FROM customer_events
    WHERE event_type IN ('article_view', 'article_click')
) AS event
ANY LEFT JOIN (SELECT article_id AS opened, primary_author_id FROM editorial_articles FINAL) AS article ON article.opened = event.article_id;
