-- grain: (article_id), articles published up to date that are young enough to recommend, or were read in the window
-- parameters: date Date (the last day), days UInt16 (length of the window, and the greatest age of an article without readers), popularity_half_life_days Float64 (the weight of a view halves every popularity_half_life_days before date; 0 for no decay), read_seconds Float64 (the mean time on the page at which a view counts in full; 0 counts every view in full), timezone String (of the days)
-- units: published_at in UTC; popularity in decayed reads; engagement_band is a quarter of the engagement score's points of 100, '0' to '3'
-- missing: '' for an unknown author, category or engagement
-- popularity: reads, not clicks, so that a title that promises too much gains nothing. A view counts by the article's mean time on the page, up to
--     read_seconds, and in full where the time is not measured
-- why: an article can occur twice, as a draft and published: FINAL reads its newest version. The engine of the
--      performance adds up scores like counts, and only when it merges: the rows of a key are combined here, with the score weighted by views
SELECT
    article.article_id AS article_id,
    article.brand_id AS brand_id,
    article.primary_category_id AS category_id,
    article.primary_author_id AS author_id,
    article.article_type AS article_type,
    toDateTime64(article.publish_time, 0, 'UTC') AS published_at,
    performance.popularity AS popularity,
    performance.views = 0 ? '' : toString(least(3, toUInt8(floor(performance.engagement / 25)))) AS engagement_band
FROM
(
    SELECT article_id, brand_id, primary_category_id, primary_author_id, article_type, publish_time
    FROM editorial_articles FINAL
    WHERE status = 'published'
        AND publish_time < toDateTime({date:Date} + 1, {timezone:String})
        AND (
            publish_time >= toDateTime({date:Date} + 1 - {days:UInt16}, {timezone:String})
            OR article_id IN (
                SELECT article_id
                FROM editorial_content_events
                PREWHERE event_timestamp >= toDateTime({date:Date} + 1 - {days:UInt16}, {timezone:String})
                    AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
            )
        )
) AS article
ANY LEFT JOIN
(
    SELECT
        article_id,
        brand_id,
        sum(total_views) AS views,
        sum(toFloat64(engagement_score) * total_views) / greatest(1, sum(total_views)) AS engagement,
        toFloat32(sum(total_views * if(avg_time_on_page_sec = 0 OR {read_seconds:Float64} = 0, 1., least(1., avg_time_on_page_sec / {read_seconds:Float64})) * if({popularity_half_life_days:Float64} = 0, 1., exp2(-toInt32({date:Date} - performance_date) / {popularity_half_life_days:Float64})))) AS popularity
    FROM editorial_article_performance
    PREWHERE performance_date > {date:Date} - {days:UInt16} AND performance_date <= {date:Date}
    GROUP BY article_id, brand_id
) AS performance ON performance.article_id = article.article_id AND performance.brand_id = article.brand_id
ORDER BY article_id
