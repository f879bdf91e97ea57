-- grain: person (a hash of company_id, brand_id, user_id), every user with a session or an event in the window
-- parameters: date Date (the last day of the window), event_types Array(String) (the types to count separately), timezone String (of the days)
-- window: the 28 days up to and including the date; columns that end in _7d cover the last 7 days
-- units: engagement in points of engagement_score, time_on_page in seconds, scroll_depth in percent; NULL without any reading
-- weighted: an event n days ago counts 2^(-n/7), in multiples of 1/1048576 so that a sum is the same in any order
SELECT
    person,
    countIf(visit AND age < 7) AS sessions_7d,
    countIf(visit) AS sessions_28d,
    sumIf(weight, visit) / 1048576 AS sessions_weighted,
    bitCount(groupBitOr(bitShiftLeft(toUInt32(visit), age))) AS active_days,
    sumIf(engagement, age < 7) AS engagement_7d,
    sum(engagement) AS engagement_28d,
    sum(toInt64(round(engagement * weight))) / 1048576 AS engagement_weighted,
    countIf(NOT visit AND age < 7) AS events_7d,
    countIf(NOT visit) AS events_28d,
    sumIf(weight, NOT visit) / 1048576 AS events_weighted,
    sumForEach(types) AS by_type,
    avg(measured.1) AS time_on_page,
    avg(measured.2) AS scroll_depth,
    sum(unreadable) AS unreadable
FROM
(
    SELECT
        *,
        toUInt64(round(1048576 * exp2(-age / 7))) AS weight
    FROM
    (
        SELECT
            murmurHash3_128(company_id, brand_id, user_id) AS person,
            true AS visit,
            toUInt8({date:Date} - toDate(session_start, {timezone:String})) AS age,
            if(isFinite(engagement_score), toFloat64(engagement_score), 0) AS engagement,
            CAST([], 'Array(UInt32)') AS types,
            CAST((NULL, NULL), 'Tuple(Nullable(Float64), Nullable(Float64))') AS measured,
            false AS unreadable
        FROM customer_sessions
        PREWHERE session_start >= toDateTime({date:Date} - 27, {timezone:String}) AND session_start < toDateTime({date:Date} + 1, {timezone:String})
        WHERE user_id != ''
        UNION ALL
        SELECT
            murmurHash3_128(company_id, brand_id, user_id) AS person,
            false AS visit,
            toUInt8({date:Date} - toDate(event_timestamp, {timezone:String})) AS age,
            toFloat64(0) AS engagement,
            arrayMap(type -> toUInt32(event_type = type), {event_types:Array(String)}) AS types,
            -- An array would fill the tuple in order.
            CAST(
                JSONExtract(
                    if(startsWith(trimLeft(engagement_metrics), '{'), engagement_metrics, ''),
                    'Tuple(time_on_page Nullable(Float64), scroll_depth Nullable(Float64))'
                ),
                'Tuple(Nullable(Float64), Nullable(Float64))'
            ) AS measured,
            -- Only rows without a result are parsed again: most events without a reading contain '{}'.
            if(
                isNull(measured.1) AND isNull(measured.2) AND engagement_metrics NOT IN ('', '{}'),
                toString(JSONType(engagement_metrics)) != 'Object',
                false
            ) AS unreadable
        FROM customer_events
        PREWHERE event_timestamp >= toDateTime({date:Date} - 27, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
        WHERE user_id != ''
    )
)
GROUP BY person
