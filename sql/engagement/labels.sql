-- grain: (company_id, brand_id, user_id), the population of features.sql
-- parameters: date Date (the snapshot), until Date (the last day of the horizon), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- label: the mean engagement score of the user's sessions in (date, until], in points of 100; 0 for a user without a session, so that a fit
--     learns from every user who will be scored
SELECT company_id, brand_id, user_id, toFloat32(later.engagement) AS label
FROM customer_user_features
ANY LEFT JOIN (
    SELECT company_id, brand_id, user_id, avg(engagement_score) AS engagement
    FROM customer_sessions
    WHERE session_start >= toDateTime({date:Date} + 1, {timezone:String}) AND session_start < toDateTime({until:Date} + 1, {timezone:String}) AND user_id != ''
    GROUP BY company_id, brand_id, user_id
) AS later USING (company_id, brand_id, user_id)
WHERE feature_date = {date:Date} AND active_last_30_days = 1 AND {slice}
