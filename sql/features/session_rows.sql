-- grain: a session of a known reader; what visits.sql needs of it, and a pass keeps per person and day
-- parameters: first Date, date Date (the first and the last day), timezone String (of the days)
-- person: a hash of company_id, brand_id, user_id
-- units: points of engagement_score in multiples of 1/1024, log_seconds is log(1 + seconds) in multiples of 1/1048576: a sum is the same in any order
SELECT
    murmurHash3_128(company_id, brand_id, user_id) AS person,
    toDate(session_start, {timezone:String}) AS day,
    toUInt32(1) AS sessions,
    toInt64(round(1024 * if(isFinite(engagement_score), toFloat64(engagement_score), 0))) AS points,
    toUInt64(round(1048576 * log1p(session_duration_sec))) AS log_seconds,
    toUInt32(referrer = 'search') AS from_search,
    toUInt32(referrer = 'newsletter') AS from_newsletter
FROM customer_sessions
PREWHERE session_start >= toDateTime({first:Date}, {timezone:String}) AND session_start < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != ''
