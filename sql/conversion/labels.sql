-- grain: (company_id, brand_id, user_id), every active reader of the snapshot, with or without an account. features.sql returns only some of them,
--     by the present user_accounts; readers who have subscribed since must not be missing in the outcomes of earlier predictions
-- parameters: date Date (the snapshot), until Date (the last day of the horizon), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- label: 1 if a paid subscription began in (date, until], even if it was cancelled later; 0 for a subscription that ended before it began
SELECT
    company_id,
    brand_id,
    user_id,
    toUInt8((company_id, brand_id, user_id) IN (
        SELECT company_id, brand_id, user_id
        FROM user_accounts FINAL
        WHERE subscription_tier NOT IN ('free', '') AND subscription_start_date > {date:Date} AND subscription_start_date <= {until:Date}
            AND {include:conversion/ended_on.sql} NOT BETWEEN toDate(1) AND subscription_start_date - 1
    )) AS label
FROM customer_user_features
WHERE feature_date = {date:Date} AND active_last_30_days = 1 AND {slice}
