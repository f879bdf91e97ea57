-- grain: event_type, of the known readers' events in the window, the most frequent first
-- parameters: date Date (the last of the 28 days), timezone String (of the days)
-- placeholders: events (customer_events or editorial_content_events)
SELECT event_type, count() AS events
FROM {events}
PREWHERE event_timestamp >= toDateTime({date:Date} - 27, {timezone:String}) AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != ''
GROUP BY event_type
ORDER BY events DESC, event_type
