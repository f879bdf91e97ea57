-- grain: (person, day), a hash of company_id, brand_id, user_id and a day with a session; what activity.sql needs of the sessions
-- parameters: first Date, date Date (the first and the last day), timezone String (of the days)
-- units: engagement in points of engagement_score; log_seconds is the sum of log(1 + seconds), in multiples of 1/1048576 so that a sum is the
--     same in any order
SELECT
    murmurHash3_128(company_id, brand_id, user_id) AS person,
    toDate(session_start, {timezone:String}) AS day,
    toUInt32(count()) AS sessions,
    sum(if(isFinite(engagement_score), toFloat64(engagement_score), 0)) AS engagement,
    sum(toUInt64(round(1048576 * log1p(session_duration_sec)))) AS log_seconds,
    toUInt32(countIf(referrer = 'search')) AS from_search,
    toUInt32(countIf(referrer = 'newsletter')) AS from_newsletter
FROM customer_sessions
PREWHERE session_start >= toDateTime({first:Date}, {timezone:String}) AND session_start < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != ''
GROUP BY person, day
