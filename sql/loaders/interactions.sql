-- grain: (brand_id, user_id, article_id, event_type)
-- parameters: since Date, until Date (the days since <= day < until), timezone String (of those days), brand String, event_types Array(String) (each if its placeholder needs it)
-- placeholders: brand (a predicate or 1), event_types (a predicate or 1)
-- units: interactions counts events; last_interaction_at in UTC
SELECT
    brand_id,
    user_id,
    article_id,
    event_type,
    count() AS interactions,
    -- A DateTime would reach Arrow as a plain number.
    toDateTime64(max(event_timestamp), 0, 'UTC') AS last_interaction_at
FROM editorial_content_events
PREWHERE event_timestamp >= toDateTime({since:Date}, {timezone:String})
    AND event_timestamp < toDateTime({until:Date}, {timezone:String})
    AND {brand}
    AND {event_types}
WHERE user_id != '' AND article_id != ''
GROUP BY brand_id, user_id, article_id, event_type
ORDER BY brand_id, user_id, article_id, event_type
