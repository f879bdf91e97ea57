-- grain: (company_id, brand_id, user_id, article_id): the articles that are recommended to a user as of date, and, if labels are
--     needed, the articles that the user saw afterwards
-- parameters: date Date (the snapshot), until Date (the last day of the labels; the snapshot itself if there are none), timezone String (of the days), days UInt16 (of reading and of the article's performance, up to date)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- missing: NULL if a quotient's denominator is 0, or an article has no performance yet
-- units: list_position counts from 1, and is NULL for an article outside the reader's list; article_age_days in days, shares from 0 to 1, durations in seconds, engagement in points of 100
-- why: ANY INNER JOIN would keep one pair per article, so pairs without an article are dropped at the end. The performance's engine adds up averages, and only when it merges: the rows of a key are combined here. Articles
--     can occur twice and are read with FINAL. Articles published after date are left out: they could not be recommended then. UNION DISTINCT would
--     hash every recommendation, and most often there are no events after the date to tell them from
WITH
    toDateTime({date:Date} + 1, {timezone:String}) AS day_end,
    toDateTime({date:Date} + 1 - {days:UInt16}, {timezone:String}) AS since,
    seen AS
    (
        SELECT company_id, brand_id, user_id, article_id
        FROM customer_events
        WHERE event_timestamp >= day_end AND event_timestamp < toDateTime({until:Date} + 1, {timezone:String})
            AND event_type = 'article_view' AND user_id != '' AND article_id != ''
        GROUP BY company_id, brand_id, user_id, article_id
    ),
    listed AS
    (
        SELECT company_id, brand_id, user_id, article_id, rank_position AS position
        FROM customer_recommendations
        WHERE {include:shared/published_lists.sql}
    )
SELECT
    reader.company_id AS company_id,
    reader.brand_id AS brand_id,
    reader.user_id AS user_id,
    pair.article_id AS article_id,
    nullIf(pair.position, 0) AS list_position,
    reader.total_sessions AS total_sessions,
    reader.avg_session_duration_sec AS avg_session_duration_sec,
    reader.avg_pages_per_session AS avg_pages_per_session,
    reader.avg_article_views AS avg_article_views,
    reader.avg_article_clicks AS avg_article_clicks,
    toFloat32(reader.avg_article_clicks / nullIf(reader.avg_article_views, 0)) AS clicks_per_view,
    reader.avg_engagement_score AS avg_engagement_score,
    reader.days_since_last_session AS days_since_last_session,
    reader.preferred_device_type_id AS preferred_device_type_id,
    article.article_type AS article_type,
    article.primary_category_id AS category_id,
    toFloat32(article.age_days) AS article_age_days,
    toUInt8(article.primary_category_id = reader.preferred_category_id) AS is_preferred_category,
    toUInt32(taste.views) AS category_views,
    toFloat32(taste.clicks / nullIf(taste.views, 0)) AS category_clicks_per_view,
    toUInt32(performance.views) AS article_views,
    toFloat32(performance.clicks / nullIf(performance.views, 0)) AS article_clicks_per_view,
    toFloat32(performance.engagement / nullIf(performance.views, 0)) AS article_engagement
FROM
(
    SELECT *
    FROM customer_user_features
    WHERE feature_date = {date:Date} AND {slice}
) AS reader
INNER JOIN
(
    SELECT company_id, brand_id, user_id, article_id, toUInt16(0) AS position
    FROM seen
    WHERE (company_id, brand_id, user_id, article_id) NOT IN
        (
            SELECT company_id, brand_id, user_id, article_id
            FROM listed
            WHERE (company_id, brand_id, user_id, article_id) IN seen
        )
    UNION ALL
    SELECT company_id, brand_id, user_id, article_id, position
    FROM listed
) AS pair ON pair.company_id = reader.company_id AND pair.brand_id = reader.brand_id AND pair.user_id = reader.user_id
ANY LEFT JOIN
(
    SELECT article_id AS id, article_type, primary_category_id, dateDiff('hour', publish_time, day_end) / 24 AS age_days
    FROM editorial_articles FINAL
    WHERE status = 'published' AND publish_time < day_end
) AS article ON article.id = pair.article_id
ANY LEFT JOIN
(
    SELECT brand_id, user_id, category_id, countIf(event_type = 'view') AS views, countIf(event_type = 'click') AS clicks
    FROM editorial_content_events
    WHERE event_timestamp >= since AND event_timestamp < day_end AND user_id != ''
    GROUP BY brand_id, user_id, category_id
) AS taste
    ON taste.brand_id = reader.brand_id AND taste.user_id = reader.user_id AND taste.category_id = article.primary_category_id
ANY LEFT JOIN
(
    SELECT article_id, brand_id, sum(total_views) AS views, sum(total_clicks) AS clicks,
        sum(toFloat64(engagement_score) * total_views) AS engagement
    FROM editorial_article_performance
    WHERE performance_date > {date:Date} - {days:UInt16} AND performance_date <= {date:Date}
    GROUP BY article_id, brand_id
) AS performance ON performance.article_id = pair.article_id AND performance.brand_id = reader.brand_id
WHERE article.id != ''
