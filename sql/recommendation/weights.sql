-- grain: (brand_id, user_id, article_id), the interactions of known readers with articles in the days up to date
-- parameters: date Date (the last day), days UInt16 (length of the window), event_types Array(String), event_weights Array(Float64) (the weight of each type; other types do not count), half_life_days Float64 (the weight of an event halves every half_life_days before the end of date; 0 for no decay), timezone String (of the days)
-- units: weight is a sum of decayed event weights; last_at is the time of the last event
-- missing: anonymous readers (user_id '') and events without an article are left out
SELECT
    brand_id,
    user_id,
    article_id,
    toFloat32(sum(
        transform(event_type, {event_types:Array(String)}, {event_weights:Array(Float64)}, 0.)
        * if({half_life_days:Float64} = 0, 1., exp2((toInt64(event_timestamp) - toInt64(toDateTime({date:Date} + 1, {timezone:String}))) / (86400 * {half_life_days:Float64})))
    )) AS weight,
    max(event_timestamp) AS last_at
FROM editorial_content_events
PREWHERE event_timestamp >= toDateTime({date:Date} + 1 - {days:UInt16}, {timezone:String})
    AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != '' AND article_id != '' AND event_type IN {event_types:Array(String)}
GROUP BY brand_id, user_id, article_id
