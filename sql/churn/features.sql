-- grain: (company_id, brand_id, user_id), users with a session in the 30 days up to the snapshot
-- parameters: date Date (the snapshot)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
WITH {include:shared/ml_features.sql}
SELECT
    {include:shared/user_features.sql},
    {include:shared/content_features.sql}
FROM customer_user_features
WHERE feature_date = {date:Date} AND active_last_30_days = 1 AND {slice}
