-- grain: (company_id, brand_id, user_id), every user of the snapshot
-- parameters: date Date (the snapshot)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- why: logarithms keep a few extreme readers from forming clusters of their own
SELECT
    {include:shared/user_features.sql},
    toFloat32(log1p(sessions_per_week)) AS log_sessions_per_week,
    toFloat32(log1p(days_since_last_session)) AS log_days_since_session
FROM customer_user_features
WHERE feature_date = {date:Date} AND {slice}
