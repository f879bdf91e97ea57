-- grain: one row, the newest day with an ad event before a day; 1970-01-01 without such a day
-- parameters: until Date (the day that has not ended), timezone String (of the days), impression String, click String (the event types)
SELECT toDate(max(event_timestamp), {timezone:String})
FROM customer_events
WHERE event_type IN ({impression:String}, {click:String})
    AND event_timestamp < toDateTime({until:Date}, {timezone:String})
