-- grain: reader (a hash of brand_id, user_id), every known reader of an article in the window
-- parameters: date Date (the last day of the window)
-- placeholders: content_days (content_days.sql, or a table of its rows)
-- window: 84 days up to and including the date; all columns up to by_type cover the last 28, and a suffix such as _7d names another number of days
-- read: an article on a day; the favourite is the category with the most reads
-- units: engagement, author_points and favourite_points in the points of the performance tables, views in views by all readers, article_age in
--     seconds; NULL without any
-- weighted: as in activity.sql; quality and author_points are sums over reads, each read counting 2^(-n/28)
SELECT
    reads.*,
    arraySort(arrayFilter(points -> isFinite(points), all_articles.2)) AS known,
    length(all_articles) AS articles_viewed,
    if(empty(known), NULL, arrayAvg(known)) AS engagement,
    arraySum(all_articles.3) AS views,
    trend.points AS favourite_points,
    trend.points_before AS favourite_points_before,
    trend.demand AS favourite_demand
FROM
(
    SELECT
        reader,
        groupUniqArrayArray(articles) AS all_articles,
        length(groupUniqArrayArray(all_authors)) AS authors,
        countIf(reads_28 > 0 AND category != 0) AS categories,
        uniqExactIf(if(parents.section = 0, category, parents.section), reads_28 > 0 AND category != 0) AS sections,
        sum(age_sum) / nullIf(sum(aged), 0) AS article_age,
        sum(n_7) AS events_7d,
        sum(n_28) AS events_28d,
        sum(n_weighted) / 1048576 AS events_weighted,
        sumForEach(types) AS by_type,
        sum(reads_28) AS reads_28d,
        sum(reads) AS reads_84d,
        sum(reads_21) AS reads_21d,
        sum(reads * (reads - 1)) / nullIf(reads_84d * (reads_84d - 1), 0) AS concentration,
        argMax((category, reads, reads_21), (reads, category)) AS favourite,
        favourite.1 AS favourite_category,
        sum(rated_reads) / 1048576 AS rated,
        sum(quality_sum) / 1048576 AS quality,
        sum(rated_reads_7) / 1048576 AS rated_7d,
        sum(quality_sum_7) / 1048576 AS quality_7d,
        sum(rated_authors) / 1048576 AS rated_author,
        sum(author_sum) / 1048576 AS author_points
    FROM
    (
        SELECT
            reader,
            category,
            groupUniqArrayIf((article, ifNull(performance.points, nan), performance.views), age < 28) AS articles,
            groupUniqArrayIf(author, age < 28 AND author != 0) AS all_authors,
            count() AS reads,
            countIf(age < 28) AS reads_28,
            countIf(age < 21) AS reads_21,
            sumIf(events, age < 7) AS n_7,
            sumIf(events, age < 28) AS n_28,
            sumIf(events * toUInt64(round(1048576 * exp2(-age / 7))), age < 28) AS n_weighted,
            sumForEachIf(by_type, age < 28) AS types,
            sumIf(article_age, age < 28) AS age_sum,
            sumIf(aged_events, age < 28) AS aged,
            sumIf(slow, isFinite(performance.quality)) AS rated_reads,
            sumIf(toInt64(round(slow * performance.quality)), isFinite(performance.quality)) AS quality_sum,
            sumIf(slow, isFinite(performance.quality) AND age < 7) AS rated_reads_7,
            sumIf(toInt64(round(slow * performance.quality)), isFinite(performance.quality) AND age < 7) AS quality_sum_7,
            sumIf(slow, isFinite(written.points)) AS rated_authors,
            sumIf(toInt64(round(slow * written.points)), isFinite(written.points)) AS author_sum
        FROM
        (
            SELECT
                reader,
                toUInt8({date:Date} - day) AS age,
                toUInt64(round(1048576 * exp2(-age / 28))) AS slow,
                -- The events of a day are counted with its first read.
                if(position = 1, events, 0) AS events,
                if(position = 1, by_type, []) AS by_type,
                if(position = 1, article_age, 0) AS article_age,
                if(position = 1, aged, 0) AS aged_events,
                read.1 AS article,
                read.2 AS category,
                read.3 AS author
            FROM ({content_days})
            ARRAY JOIN reads AS read, arrayEnumerate(reads) AS position
            WHERE day > {date:Date} - 84 AND day <= {date:Date}
        ) AS reading
        ANY LEFT JOIN
        (
            -- The engine adds up scores and rates like counts, and only when it merges: the rows of a key are combined
            -- here, weighted by their views.
            SELECT
                sipHash64(brand_id, article_id) AS key,
                sumIf(total_views, performance_date >= {date:Date} - 27) AS views,
                sumIf(toFloat64(engagement_score) * total_views, performance_date >= {date:Date} - 27) / nullIf(views, 0) AS points,
                sum(toFloat64(engagement_score) * total_views) / nullIf(sum(total_views), 0) AS quality
            FROM editorial_article_performance
            PREWHERE performance_date > {date:Date} - 84 AND performance_date <= {date:Date}
            GROUP BY key
        ) AS performance ON performance.key = reading.article
        ANY LEFT JOIN
        (
            SELECT
                sipHash64(author_id) AS key,
                sum(toFloat64(avg_engagement_score) * total_views) / nullIf(sum(total_views), 0) AS points
            FROM editorial_author_performance
            PREWHERE performance_date > {date:Date} - 84 AND performance_date <= {date:Date}
            GROUP BY key
        ) AS written ON written.key = reading.author
        GROUP BY reader, category
    ) AS grouped
    ANY LEFT JOIN
    (
        SELECT sipHash64(category_id) AS key, if(parent_category_id = '', 0, sipHash64(parent_category_id)) AS section
        FROM categories FINAL
    ) AS parents ON parents.key = grouped.category
    GROUP BY reader
) AS reads
ANY LEFT JOIN
(
    SELECT
        sipHash64(category_id) AS key,
        sumIf(toFloat64(avg_engagement_score) * total_views, performance_date > {date:Date} - 28) / nullIf(sumIf(total_views, performance_date > {date:Date} - 28), 0) AS points,
        sum(toFloat64(avg_engagement_score) * total_views) / nullIf(sum(total_views), 0) AS points_before,
        6 * sumIf(total_views, performance_date > {date:Date} - 14) / nullIf(sum(total_views), 0) - 1 AS demand
    FROM editorial_category_performance
    PREWHERE performance_date > {date:Date} - 84 AND performance_date <= {date:Date}
    GROUP BY key
) AS trend ON trend.key = reads.favourite_category
