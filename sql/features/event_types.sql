-- grain: event_type, of the known readers' events in the window, the most frequent first
-- parameters: date Date (the last of the 28 days, in UTC)
-- placeholders: events (customer_events or editorial_content_events)
SELECT event_type, count() AS events
FROM {events}
PREWHERE event_timestamp >= toDateTime({date:Date} - 27, 'UTC') AND event_timestamp < toDateTime({date:Date} + 1, 'UTC')
WHERE user_id != ''
GROUP BY event_type
ORDER BY events DESC, event_type
