-- grain: reader (a hash of brand_id, user_id), every known reader of an article in the window
-- parameters: date Date (the last day of the window)
-- placeholders: reads (rows of content_rows.sql or content_days.sql)
-- window: the 28 days up to and including the date; columns that end in _7d cover the last 7 days
-- units: engagement and quality in the points of editorial_article_performance, views in views by all readers, article_age in seconds; NULL without any
-- weighted: an event n days ago counts 2^(-n/7), in multiples of 1/1048576 so that a sum is the same in any order
-- quality: the mean over events of their articles' engagement, in multiples of 1/1048576 as the weights
SELECT
    reader,
    length(articles) AS articles_viewed,
    arraySort(arrayFilter(points -> isFinite(points), articles.2)) AS known,
    if(empty(known), NULL, arrayAvg(known)) AS engagement,
    arraySum(articles.3) AS views,
    authors,
    categories,
    sections,
    article_age,
    events_7d,
    events_28d,
    events_weighted,
    by_type,
    quality,
    quality_7d
FROM
(
    SELECT
        reader,
        -- An article always has the same numbers, so each occurs here once.
        groupUniqArray((article, ifNull(performance.points, nan), performance.views)) AS articles,
        uniqExactIf(author, author != 0) AS authors,
        uniqExactIf(category, category != 0) AS categories,
        uniqExactIf(if(section.parent = 0, category, section.parent), category != 0) AS sections,
        sum(age_sum) / nullIf(sum(aged), 0) AS article_age,
        sumIf(events, age < 7) AS events_7d,
        sum(events) AS events_28d,
        sum(events * toUInt64(round(1048576 * exp2(-age / 7)))) / 1048576 AS events_weighted,
        sumForEach(types) AS by_type,
        sum(events * toInt64(round(1048576 * performance.points))) / 1048576 / nullIf(sumIf(events, isNotNull(performance.points)), 0) AS quality,
        sumIf(events * toInt64(round(1048576 * performance.points)), age < 7) / 1048576
            / nullIf(sumIf(events, isNotNull(performance.points) AND age < 7), 0) AS quality_7d
    FROM
    (
        SELECT
            reader,
            toUInt8({date:Date} - day) AS age,
            article,
            category,
            author,
            events,
            by_type AS types,
            article_age AS age_sum,
            aged
        FROM ({reads})
        WHERE day > {date:Date} - 28 AND day <= {date:Date}
    ) AS read
    ANY LEFT JOIN
    (
        -- The engine adds up engagement_score like a count, and only when it merges: the rows of a key are combined
        -- here, with the score weighted by its views.
        SELECT
            sipHash64(brand_id, article_id) AS key,
            sum(total_views) AS views,
            sum(toFloat64(engagement_score) * total_views) / nullIf(sum(total_views), 0) AS points
        FROM editorial_article_performance
        PREWHERE performance_date > {date:Date} - 28 AND performance_date <= {date:Date}
        GROUP BY key
    ) AS performance ON performance.key = read.article
    ANY LEFT JOIN
    (
        SELECT sipHash64(category_id) AS id, if(parent_category_id = '', 0, sipHash64(parent_category_id)) AS parent
        FROM categories FINAL
    ) AS section ON section.id = read.category
    GROUP BY reader
)
