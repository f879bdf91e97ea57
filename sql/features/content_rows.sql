-- grain: an event of a known reader on an article; what content.sql needs of it, and a pass keeps per reader, day and article
-- parameters: first_event Date, date Date (the first and the last day), content_types Array(String) (the types to count separately), timezone String (of the days)
-- reader: a hash of brand_id, user_id. Other ids are 64-bit hashes, 0 if unknown: among a million articles two collide with probability 3e-8
-- author, category: of the event, or else of the article; an article counts as known from the day before its publish_date, which may be of another zone
-- units: article_age in seconds, 0 if the article had not been published, with the number of published articles beside it
SELECT
    event.reader AS reader,
    event.day AS day,
    event.article AS article,
    about.published_on <= event.day + 1 AS is_known,
    if(event.category_id != '', sipHash64(event.category_id), if(is_known, about.category, 0)) AS category,
    if(event.author_id != '', sipHash64(event.author_id), if(is_known, about.author, 0)) AS author,
    toUInt32(1) AS events,
    event.types AS by_type,
    is_known AND about.published != 0 AND about.published <= event.moment AS aged,
    if(aged, toInt64(event.moment) - about.published, 0) AS article_age
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
    PREWHERE event_timestamp >= toDateTime({first_event:Date}, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
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
