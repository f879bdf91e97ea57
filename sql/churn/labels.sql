-- grain: (company_id, brand_id, user_id), the population of features.sql
-- parameters: date Date (the snapshot), until Date (the last day of the horizon), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- label: 1 if the user has no session in (date, until]
SELECT
    company_id,
    brand_id,
    user_id,
    toUInt8((company_id, brand_id, user_id) NOT IN (
        SELECT company_id, brand_id, user_id
        FROM customer_sessions
        WHERE session_start >= toDateTime({date:Date} + 1, {timezone:String}) AND session_start < toDateTime({until:Date} + 1, {timezone:String})
    )) AS label
FROM customer_user_features
WHERE feature_date = {date:Date} AND active_last_30_days = 1 AND {slice}
