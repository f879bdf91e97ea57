-- grain: an event of a known reader in customer_events; what activity.sql needs of it, and a pass keeps per person and day
-- parameters: first_event Date, date Date (the first and the last day), event_types Array(String) (the types to count separately), timezone String (of the days)
-- person: a hash of company_id, brand_id, user_id
-- units: time_on_page in seconds, scroll_depth in percent; each 0 without a reading, with the number of readings beside it
SELECT
    murmurHash3_128(company_id, brand_id, user_id) AS person,
    toDate(event_timestamp, {timezone:String}) AS day,
    toUInt32(1) AS events,
    arrayMap(type -> toUInt32(event_type = type), {event_types:Array(String)}) AS by_type,
    -- An array would fill the tuple in order.
    CAST(
        JSONExtract(
            if(startsWith(trimLeft(engagement_metrics), '{'), engagement_metrics, ''),
            'Tuple(time_on_page Nullable(Float64), scroll_depth Nullable(Float64))'
        ),
        'Tuple(Nullable(Float64), Nullable(Float64))'
    ) AS measured,
    ifNull(measured.1, 0) AS time_on_page,
    toUInt32(isNotNull(measured.1)) AS timed,
    ifNull(measured.2, 0) AS scroll_depth,
    toUInt32(isNotNull(measured.2)) AS scrolled,
    -- Only rows without a result are parsed again: most events without a reading contain '{}'.
    toUInt32(if(
        isNull(measured.1) AND isNull(measured.2) AND engagement_metrics NOT IN ('', '{}'),
        toString(JSONType(engagement_metrics)) != 'Object',
        false
    )) AS unreadable
FROM customer_events
PREWHERE event_timestamp >= toDateTime({first_event:Date}, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != ''
