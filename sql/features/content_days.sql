-- grain: (reader, day), a hash of brand_id, user_id and a day with an event on an article; what content.sql needs of editorial_content_events
-- parameters: first Date, date Date (the first and the last day), content_types Array(String) (the types to count separately), timezone String (of the days)
-- reads: the distinct articles of the day, each with the hashes of its category and its author (0: unknown). Ids are 64-bit hashes: among a
--     million articles two collide with probability 3e-8
-- author, category: of the event, or else of the article; an article counts as known from the day before its publish_date, which may be of another zone
-- units: article_age is a sum in seconds over the `aged` events whose article had been published
SELECT
    reader,
    day,
    toUInt32(count()) AS events,
    sumForEach(types) AS by_type,
    sum(since_publication) AS article_age,
    toUInt32(count(since_publication)) AS aged,
    groupUniqArray((article, category, author)) AS reads
FROM
(
    SELECT
        event.reader AS reader,
        event.day AS day,
        event.types AS types,
        event.article AS article,
        about.published_on <= event.day + 1 AS is_known,
        if(event.author_id != '', sipHash64(event.author_id), if(is_known, about.author, 0)) AS author,
        if(event.category_id != '', sipHash64(event.category_id), if(is_known, about.category, 0)) AS category,
        if(NOT is_known OR about.published = 0 OR about.published > event.moment, NULL, toInt64(event.moment) - about.published) AS since_publication
    FROM
    (
        SELECT
            murmurHash3_128(brand_id, user_id) AS reader,
            toDate(event_timestamp, {timezone:String}) AS day,
            toUnixTimestamp(event_timestamp) AS moment,
            arrayMap(type -> toUInt32(event_type = type), {content_types:Array(String)}) AS types,
            sipHash64(brand_id, article_id) AS article,
            sipHash64(article_id) AS id,
            author_id,
            category_id
        FROM editorial_content_events
        PREWHERE event_timestamp >= toDateTime({first:Date}, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
        WHERE user_id != '' AND article_id != ''
    ) AS event
    ANY LEFT JOIN
    (
        SELECT
            sipHash64(article_id) AS id,
            if(primary_author_id = '', 0, sipHash64(primary_author_id)) AS author,
            if(primary_category_id = '', 0, sipHash64(primary_category_id)) AS category,
            toUnixTimestamp(publish_time) AS published,
            publish_date AS published_on
        FROM editorial_articles FINAL
    ) AS about ON about.id = event.id
)
GROUP BY reader, day
