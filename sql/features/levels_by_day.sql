-- grain: day, the number of all sessions and the sum of their engagement, in points of engagement_score
-- parameters: first_event Date, date Date (the first and the last day), timezone String (of the days)
SELECT
    toDate(session_start, {timezone:String}) AS day,
    count(),
    countIf(isFinite(engagement_score)),
    sumIf(toFloat64(engagement_score), isFinite(engagement_score))
FROM customer_sessions
WHERE session_start >= toDateTime({first_event:Date}, {timezone:String}) AND session_start < toDateTime({date:Date} + 1, {timezone:String})
GROUP BY day
