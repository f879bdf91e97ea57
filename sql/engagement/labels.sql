-- grain: (company_id, brand_id, user_id), users with a session in (date, until]; other users have no engagement then
-- parameters: date Date (the snapshot), until Date (the last day of the horizon), timezone String (of the days)
-- label: the mean engagement score of the user's sessions in (date, until], in points of 100
SELECT company_id, brand_id, user_id, toFloat32(avg(engagement_score)) AS label
FROM customer_sessions
WHERE session_start >= toDateTime({date:Date} + 1, {timezone:String}) AND session_start < toDateTime({until:Date} + 1, {timezone:String}) AND user_id != ''
GROUP BY company_id, brand_id, user_id
