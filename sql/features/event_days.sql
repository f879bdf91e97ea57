-- grain: (person, day), a hash of company_id, brand_id, user_id and a day with an event; what activity.sql needs of customer_events
-- parameters: first_event Date, date Date (the first and the last day), event_types Array(String) (the types to count separately), timezone String (of the days)
-- units: time_on_page in seconds, scroll_depth in percent; each as a sum and the number of readings
SELECT
    person,
    day,
    toUInt32(count()) AS events,
    sumForEach(types) AS by_type,
    sum(measured.1) AS time_on_page,
    toUInt32(count(measured.1)) AS timed,
    sum(measured.2) AS scroll_depth,
    toUInt32(count(measured.2)) AS scrolled,
    -- Only rows without a result are parsed again: most events without a reading contain '{}'.
    toUInt32(countIf(if(
        isNull(measured.1) AND isNull(measured.2) AND engagement_metrics NOT IN ('', '{}'),
        toString(JSONType(engagement_metrics)) != 'Object',
        false
    ))) AS unreadable
FROM
(
    SELECT
        murmurHash3_128(company_id, brand_id, user_id) AS person,
        toDate(event_timestamp, {timezone:String}) AS day,
        arrayMap(type -> toUInt32(event_type = type), {event_types:Array(String)}) AS types,
        engagement_metrics,
        -- An array would fill the tuple in order.
        CAST(
            JSONExtract(
                if(startsWith(trimLeft(engagement_metrics), '{'), engagement_metrics, ''),
                'Tuple(time_on_page Nullable(Float64), scroll_depth Nullable(Float64))'
            ),
            'Tuple(Nullable(Float64), Nullable(Float64))'
        ) AS measured
    FROM customer_events
    PREWHERE event_timestamp >= toDateTime({first_event:Date}, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
    WHERE user_id != ''
)
GROUP BY person, day
