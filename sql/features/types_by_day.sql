-- grain: (day, event_type), of the known readers' events; the most frequent types of each day
-- parameters: first_event Date, date Date (the first and the last day), timezone String (of the days), most UInt64 (types per day)
-- placeholders: events (customer_events or editorial_content_events)
SELECT toDate(event_timestamp, {timezone:String}) AS day, event_type, count() AS events
FROM {events}
PREWHERE event_timestamp >= toDateTime({first_event:Date}, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != ''
GROUP BY day, event_type
ORDER BY day, events DESC, event_type
LIMIT {most:UInt64} BY day
