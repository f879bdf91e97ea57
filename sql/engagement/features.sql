-- grain: (company_id, brand_id, user_id), users with a session in the 30 days up to the snapshot
-- parameters: date Date (the snapshot), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- recent: sessions of the last 7 days and of the 21 days before, read once for all users; NULL for a user without sessions
-- ties: among sessions that began in the same second, the same session always counts as the last
-- last_week: 0 for a user without a session in the last 7 days, as in labels.sql
-- units: engagement in points of 100
WITH {include:shared/ml_features.sql}
SELECT
    {include:shared/user_features.sql},
    {include:shared/content_features.sql},
    nullIf(recent.sessions_7, 0) AS sessions_7,
    if(recent.sessions_7 > 0, recent.engagement_7 / recent.sessions_7, NULL) AS engagement_7,
    if(recent.sessions_28 > 0, recent.engagement_28 / recent.sessions_28, NULL) AS engagement_28,
    engagement_7 - engagement_28 AS engagement_trend,
    ifNull(engagement_7, 0) AS last_week,
    recent.last_engagement AS last_engagement
FROM customer_user_features
ANY LEFT JOIN (
    SELECT
        company_id,
        brand_id,
        user_id,
        toUInt32(countIf(session_start >= toDateTime({date:Date} - 6, {timezone:String}))) AS sessions_7,
        toUInt32(countIf(session_start < toDateTime({date:Date} - 6, {timezone:String}))) AS sessions_28,
        sumIf(engagement_score, session_start >= toDateTime({date:Date} - 6, {timezone:String})) AS engagement_7,
        sumIf(engagement_score, session_start < toDateTime({date:Date} - 6, {timezone:String})) AS engagement_28,
        toNullable(argMax(engagement_score, (session_start, session_id))) AS last_engagement
    FROM customer_sessions
    WHERE session_start >= toDateTime({date:Date} - 27, {timezone:String}) AND session_start < toDateTime({date:Date} + 1, {timezone:String}) AND user_id != ''
    GROUP BY company_id, brand_id, user_id
) AS recent USING (company_id, brand_id, user_id)
WHERE feature_date = {date:Date} AND active_last_30_days = 1 AND {slice}
