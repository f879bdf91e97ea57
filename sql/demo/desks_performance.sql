-- grain: (performance_date, category_id, brand_id); (performance_date, author_id, brand_id)
-- parameters: written_at DateTime
-- units: engagement in clicks; avg_engagement_score in points of 100, the clicks per view
INSERT INTO editorial_category_performance
    (performance_id, category_id, brand_id, performance_date, articles_published, total_views, unique_readers, avg_views_per_article,
     total_engagement, avg_engagement_score, created_at, updated_at)
SELECT
    UUIDNumToString(murmurHash3_128(category_id, brand_id, toUInt16(performance_date))) AS performance_id,
    category_id,
    brand_id,
    toDate(event_timestamp, 'UTC') AS performance_date,
    1 AS articles_published,
    countIf(event_type = 'view') AS total_views,
    uniqExact(user_id) AS unique_readers,
    total_views / uniqExact(article_id) AS avg_views_per_article,
    countIf(event_type = 'click') AS total_engagement,
    100 * total_engagement / greatest(1, total_views) AS avg_engagement_score,
    {written_at:DateTime} AS created_at,
    {written_at:DateTime} AS updated_at
FROM editorial_content_events
GROUP BY category_id, brand_id, performance_date;

INSERT INTO editorial_author_performance
    (performance_id, author_id, brand_id, performance_date, articles_published, total_views, unique_readers, avg_views_per_article,
     total_engagement, avg_engagement_score, total_shares, created_at, updated_at)
SELECT
    UUIDNumToString(murmurHash3_128(author_id, brand_id, toUInt16(performance_date))) AS performance_id,
    author_id,
    brand_id,
    toDate(event_timestamp, 'UTC') AS performance_date,
    uniqExactIf(article_id, publish_date = performance_date) AS articles_published,
    countIf(event_type = 'view') AS total_views,
    uniqExact(user_id) AS unique_readers,
    total_views / uniqExact(article_id) AS avg_views_per_article,
    countIf(event_type = 'click') AS total_engagement,
    100 * total_engagement / greatest(1, total_views) AS avg_engagement_score,
    countIf(event_type = 'share') AS total_shares,
    {written_at:DateTime} AS created_at,
    {written_at:DateTime} AS updated_at
FROM editorial_content_events
ANY LEFT JOIN (SELECT article_id, publish_date FROM editorial_articles FINAL) AS article USING (article_id)
GROUP BY author_id, brand_id, performance_date;
