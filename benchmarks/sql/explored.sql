-- grain: one row per table and number, from `first` on
-- parameters: first UInt64, rows UInt64 (how many numbers), users UInt64 (how many readers share the rows)
-- All values are hashes of the number, so the same parameters give the same rows. JSON is some 200 bytes long.
INSERT INTO customer_sessions
(
    session_id, user_id, company_id, brand_id, account_id, country_code, city_id, timezone, device_type_id, os_id,
    browser_id, referrer, user_segment, subscription_tier, session_start, session_end, session_duration_sec,
    total_events, article_views, article_clicks, video_plays, newsletter_signups, ad_clicks, searches,
    pages_visited_count, unique_pages_count, unique_categories_count, categories_visited, article_ids_visited,
    article_titles_visited, page_events, engagement_score, scroll_depth_avg, time_on_page_avg, metadata, batch_id
)
WITH
    sipHash64(number) AS luck,
    number % {users:UInt64} AS reader,
    toDateTime('2025-10-01 00:00:00', 'UTC') + luck % (120 * 86400) AS at,
    toUInt32(30 + luck % 1800) AS seconds,
    toUInt16(1 + luck % 37) AS events,
    concat('article-', toString(luck % 20000)) AS article
SELECT
    toString(reinterpretAsUUID(sipHash128(number, 'session'))),
    toString(reinterpretAsUUID(sipHash128(reader))),
    concat('company-', toString(reader % 5 % 2)),
    concat('brand-', toString(reader % 5)),
    if(reader % 3 = 0, toString(reinterpretAsUUID(sipHash128(reader, 'account'))), ''),
    ['NO', 'SE', 'DK', 'FI', 'DE', 'GB'][1 + reader % 6],
    concat('city-', toString(reader % 20)),
    'Europe/Oslo',
    ['mobile', 'desktop', 'tablet', ''][1 + luck % 4],
    ['ios', 'android', 'windows', 'macos', 'linux'][1 + luck % 5],
    ['safari', 'chrome', 'firefox', 'edge'][1 + luck % 4],
    ['', 'https://search.example/', 'https://social.example/'][1 + luck % 3],
    ['casual', 'regular', 'fan', 'dormant'][1 + reader % 4],
    ['free', 'basic', 'premium'][1 + reader % 3],
    at, at + seconds, seconds,
    events, intDiv(events, 2), intDiv(events, 5), luck % 3, luck % 50 = 0, luck % 11 = 0, luck % 2,
    1 + intDiv(events, 3), 1 + intDiv(events, 4), 1 + luck % 5,
    concat('["category-', toString(luck % 12), '","category-', toString(luck % 7), '"]'),
    concat('["', article, '"]'),
    concat('["What we know about story ', toString(luck % 20000), '"]'),
    concat(
        '[{"event_type":"article_view","article_id":"', article, '","timestamp":"', toString(at, 'UTC'),
        '","time_on_page_sec":', toString(luck % 600), ',"scroll_depth":', toString(luck % 101),
        '},{"event_type":"article_click","position":', toString(luck % 13), '}]'
    ),
    luck % 1000 / 10, luck % 101, luck % 600,
    concat('{"app_version":"', toString(luck % 40), '","consent":', if(luck % 5 = 0, 'false', 'true'), '}'),
    concat('batch-', toString(toDate(at, 'UTC')))
FROM numbers({first:UInt64}, {rows:UInt64});

-- grain: event; three of four have a session
INSERT INTO customer_events
(
    event_id, session_id, user_id, company_id, brand_id, event_type, event_timestamp, article_id, article_title,
    article_type, category_id, page_url, country_code, city_id, timezone, device_type_id, os_id, browser_id,
    engagement_metrics, metadata
)
WITH
    sipHash64(number, 'event') AS luck,
    number % {users:UInt64} AS reader,
    luck % 20000 AS article
SELECT
    toString(reinterpretAsUUID(sipHash128(number, 'event'))),
    if(luck % 4 = 0, '', toString(reinterpretAsUUID(sipHash128(number, 'session')))),
    if(luck % 10 = 0, '', toString(reinterpretAsUUID(sipHash128(reader)))),
    concat('company-', toString(reader % 5 % 2)),
    concat('brand-', toString(reader % 5)),
    ['page_view', 'article_view', 'article_click', 'ad_impression', 'ad_click', 'search'][1 + luck % 6],
    toDateTime('2025-10-01 00:00:00', 'UTC') + luck % (120 * 86400),
    concat('article-', toString(article)),
    concat('What we know about story ', toString(article)),
    ['news', 'feature', 'opinion', 'video'][1 + article % 4],
    concat('category-', toString(article % 12)),
    concat('https://news.example/', toString(article), '?from=', toString(luck % 97)),
    ['NO', 'SE', 'DK', 'FI', 'DE', 'GB'][1 + reader % 6],
    concat('city-', toString(reader % 20)),
    'Europe/Oslo',
    ['mobile', 'desktop', 'tablet', ''][1 + luck % 4],
    ['ios', 'android', 'windows', 'macos', 'linux'][1 + luck % 5],
    ['safari', 'chrome', 'firefox', 'edge'][1 + luck % 4],
    concat(
        '{"time_on_page_sec":', toString(luck % 600), ',"scroll_depth":', toString(luck % 101),
        ',"engagement_score":', toString(luck % 1000 / 10), ',"is_bounce":', if(luck % 7 = 0, 'true', 'false'), '}'
    ),
    concat(
        '{"arm":"arm-', toString(luck % 5), '","placement":"', ['top', 'side', 'inline'][1 + luck % 3], '","revenue":',
        toString(luck % 300 / 1000), ',"request":"', hex(sipHash128(number, 'request')), '","app_version":"',
        toString(luck % 40), '"}'
    )
FROM numbers({first:UInt64}, {rows:UInt64});

-- grain: prediction
INSERT INTO ml_model_predictions
(
    prediction_id, model_id, prediction_type, entity_id, entity_type, prediction_value, prediction_probability,
    prediction_class, prediction_confidence, input_features, predicted_at, prediction_date, company_id, brand_id,
    batch_id, metadata
)
WITH sipHash64(number, 'prediction') AS luck, number % {users:UInt64} AS reader, luck % 10000 / 10000 AS score
SELECT
    toString(reinterpretAsUUID(sipHash128(number, 'prediction'))),
    'churn-20260131',
    'churn',
    toString(reinterpretAsUUID(sipHash128(reader))),
    'user',
    score, score, multiIf(score < 0.3, 'low', score < 0.7, 'medium', 'high'), abs(2 * score - 1),
    concat('{"days_since_last_session":', toString(luck % 30), ',"total_sessions":', toString(luck % 200), '}'),
    toDateTime('2026-02-01 03:00:00', 'UTC'),
    toDate('2026-01-31'),
    concat('company-', toString(reader % 5 % 2)),
    concat('brand-', toString(reader % 5)),
    'churn_20260131_00000001',
    '{"run":"churn_20260131_00000001"}'
FROM numbers({first:UInt64}, {rows:UInt64});

-- grain: reader; written only with first = 0
INSERT INTO users (user_id, email, primary_country_code, is_active, created_at, updated_at)
SELECT
    toString(reinterpretAsUUID(sipHash128(number))),
    concat(toString(number), '@reader.example'),
    ['NO', 'SE', 'DK', 'FI', 'DE', 'GB'][1 + number % 6],
    number % 9 > 0,
    toDateTime('2025-01-01 00:00:00', 'UTC') + number % (200 * 86400),
    toDateTime('2026-01-01 00:00:00', 'UTC')
FROM numbers({users:UInt64})
WHERE {first:UInt64} = 0;

-- grain: brand
INSERT INTO brands (brand_id, company_id, brand_name)
SELECT concat('brand-', toString(number)), concat('company-', toString(number % 2)), concat('Brand ', toString(number))
FROM numbers(5)
WHERE {first:UInt64} = 0;

-- grain: article
INSERT INTO editorial_articles (article_id, brand_id, title, article_type, primary_category_id, word_count, publish_date)
SELECT
    concat('article-', toString(number)),
    concat('brand-', toString(number % 5)),
    concat('What we know about story ', toString(number)),
    ['news', 'feature', 'opinion', 'video'][1 + number % 4],
    concat('category-', toString(number % 12)),
    100 + sipHash64(number) % 2000,
    toDate('2025-10-01') + number % 120
FROM numbers(20000)
WHERE {first:UInt64} = 0
