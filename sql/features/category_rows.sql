-- grain: an event of a known reader on an article of a category; what history.sql needs of it, and a pass keeps per reader, day and category
-- parameters: first Date, date Date (the first and the last day), timezone String (of the days)
-- reader: a hash of brand_id, user_id
-- category: a hash of the event's category_id; events without one are left out
SELECT
    murmurHash3_128(brand_id, user_id) AS reader,
    toDate(event_timestamp, {timezone:String}) AS day,
    sipHash64(category_id) AS category,
    toUInt32(1) AS events
FROM editorial_content_events
PREWHERE event_timestamp >= toDateTime({first:Date}, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != '' AND article_id != '' AND category_id != ''
