-- grain: (company_id, brand_id, user_id), every active reader of the snapshot, with an account or without: of whom features.sql yields
--     some, by what user_accounts say now; who has subscribed since must not be missing among the outcomes of earlier predictions
-- parameters: date Date (the snapshot), until Date (the last day of the horizon), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- label: 1 when a paid subscription began in (date, until], whatever became of it later; 0 for one that ended before it began
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
