-- grain: one row, the newest day with an ad event; 1970-01-01 where there is none
-- parameters: timezone String (of the day), impression String, click String (the event types)
SELECT toDate(max(event_timestamp), {timezone:String})
FROM customer_events
WHERE event_type IN ({impression:String}, {click:String})
