-- grain: (company_id, brand_id, user_id), users on the free tier with a session in the 30 days up to the snapshot
-- parameters: date Date (the snapshot)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- free: the snapshot holds the tier of the last session, which may be older than a subscription; user_accounts knows the day it began
WITH {include:shared/ml_features.sql}
SELECT
    {include:shared/user_features.sql},
    {include:shared/content_features.sql}
FROM customer_user_features
WHERE feature_date = {date:Date} AND active_last_30_days = 1 AND current_subscription_tier IN ('free', '')
    AND (company_id, brand_id, user_id) NOT IN (
        SELECT company_id, brand_id, user_id
        FROM user_accounts FINAL
        WHERE subscription_tier NOT IN ('free', '') AND subscription_start_date <= {date:Date}
    )
    AND {slice}
