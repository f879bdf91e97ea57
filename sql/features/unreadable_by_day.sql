-- grain: day, the known readers' sessions whose categories_visited is not a JSON array; only days with such sessions
-- parameters: date Date (the last day), timezone String (of the days)
SELECT toDate(session_start, {timezone:String}) AS day, count()
FROM customer_sessions
PREWHERE session_start < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != '' AND categories_visited NOT IN ('', '[]') AND toString(JSONType(categories_visited)) != 'Array'
GROUP BY day
