-- grain: reader (a hash of brand_id, user_id), every known reader of an article in the window
-- parameters: date Date (the last day of the window), content_types Array(String) (the types to count separately), timezone String (of the days)
-- window: the 28 days up to and including the date; columns that end in _7d cover the last 7 days
-- units: engagement in the points of editorial_article_performance, views in views by all readers, article_age in seconds; NULL without any
-- weighted: as in activity.sql
-- author, category: of the event, or else of the article
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
    by_type
FROM
(
    SELECT
        reader,
        -- An article always has the same numbers, so each occurs here once. Ids are 64-bit hashes: among a
        -- million articles two collide with probability 3e-8.
        groupUniqArray((article, ifNull(performance.engagement, nan), performance.views)) AS articles,
        uniqExactIf(sipHash64(author), author != '') AS authors,
        uniqExactIf(sipHash64(category), category != '') AS categories,
        uniqExactIf(sipHash64(if(section.parent = '', category, section.parent)), category != '') AS sections,
        avg(read.since_publication) AS article_age,
        countIf(age < 7) AS events_7d,
        count() AS events_28d,
        sum(toUInt64(round(1048576 * exp2(-age / 7)))) / 1048576 AS events_weighted,
        sumForEach(types) AS by_type
    FROM
    (
        SELECT
            event.reader AS reader,
            event.age AS age,
            event.types AS types,
            event.article AS article,
            if(event.author_id = '', about.author, event.author_id) AS author,
            if(event.category_id = '', about.category, event.category_id) AS category,
            if(about.published = 0 OR about.published > event.moment, NULL, event.moment - about.published) AS since_publication
        FROM
        (
            SELECT
                murmurHash3_128(brand_id, user_id) AS reader,
                toUInt8({date:Date} - toDate(event_timestamp, {timezone:String})) AS age,
                toUnixTimestamp(event_timestamp) AS moment,
                arrayMap(type -> toUInt32(event_type = type), {content_types:Array(String)}) AS types,
                sipHash64(brand_id, article_id) AS article,
                sipHash64(article_id) AS id,
                author_id,
                category_id
            FROM editorial_content_events
            PREWHERE event_timestamp >= toDateTime({date:Date} - 27, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
            WHERE user_id != '' AND article_id != ''
        ) AS event
        ANY LEFT JOIN
        (
            SELECT
                sipHash64(article_id) AS id,
                primary_author_id AS author,
                primary_category_id AS category,
                toUnixTimestamp(publish_time) AS published
            FROM editorial_articles FINAL
            WHERE publish_date <= {date:Date}
        ) AS about ON about.id = event.id
    ) AS read
    ANY LEFT JOIN
    (
        -- The engine adds up engagement_score like a count, and only when it merges: the rows of a key are combined
        -- here, with the score weighted by its views.
        SELECT
            sipHash64(brand_id, article_id) AS key,
            sum(total_views) AS views,
            sum(toFloat64(engagement_score) * total_views) / nullIf(sum(total_views), 0) AS engagement
        FROM editorial_article_performance
        PREWHERE performance_date >= {date:Date} - 27 AND performance_date <= {date:Date}
        GROUP BY key
    ) AS performance ON performance.key = read.article
    ANY LEFT JOIN (SELECT category_id AS id, parent_category_id AS parent FROM categories FINAL) AS section
        ON section.id = read.category
    GROUP BY reader
)
