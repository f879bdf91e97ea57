-- grain: (company_id, brand_id, user_id), readers with a session in the 30 days up to the snapshot who are on the free tier at its end
-- parameters: date Date (the snapshot), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- free: the snapshot contains the tier of the last session, which may be older than a subscription or its end; user_accounts knows
--     these days. A subscription is over on the day of its end. An inactive subscription without an end does not count
--     against a reader whose last session was free
-- why: ends within 30 days; the reader's last session already knows earlier ends
WITH {include:shared/ml_features.sql}
SELECT
    {include:shared/user_features.sql},
    {include:shared/content_features.sql}
FROM customer_user_features
WHERE feature_date = {date:Date} AND active_last_30_days = 1
    AND (company_id, brand_id, user_id) NOT IN (
        SELECT company_id, brand_id, user_id
        FROM user_accounts FINAL
        WHERE subscription_tier NOT IN ('free', '') AND subscription_start_date <= {date:Date}
            AND if(subscription_end_date > toDate(0), subscription_end_date > {date:Date}, subscription_status IN ('active', ''))
    )
    AND (
        current_subscription_tier IN ('free', '')
        OR (company_id, brand_id, user_id) IN (
            SELECT company_id, brand_id, user_id
            FROM user_accounts FINAL
            WHERE {include:conversion/ended_on.sql} BETWEEN {date:Date} - 29 AND {date:Date}
        )
    )
    AND {slice}
