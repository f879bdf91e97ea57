-- grain: (company_id, brand_id, user_id), one row of customer_conversion_predictions for every staged score
-- parameters: run_id String, model_version String, date Date, run_at DateTime
-- placeholders: staging (the run's table), explanations (keys and contributions of the highest scores)
-- units: conversion_probability and model_confidence from 0 to 1; conversion_value is the expected monthly price in the accounts' currency:
--     conversion_probability times the median monthly_price in the metadata (JSON) of the accounts that bought conversion_tier; 0 if they state none
-- did_convert, converted_at, actual_tier: always 0, 1970-01-01 and '', as published rows never change; `raypipe validate
--     conversion` compares the predictions with the outcomes in the accounts
-- conversion_tier: the paid tier that the brand sold most often in the 90 days up to the snapshot, '' if it sold none;
--     among equally frequent tiers the last in the alphabet
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, company_id, brand_id, user_id)) AS prediction_id,
    user_id,
    company_id,
    brand_id,
    {date:Date} AS prediction_date,
    score AS conversion_probability,
    sold.tier AS conversion_tier,
    toFloat32(score * sold.price) AS conversion_value,
    {model_version:String} AS model_version,
    toFloat32(greatest(score, 1 - score)) AS model_confidence,
    explanation.contributions AS feature_importance,
    0 AS did_convert,
    toDateTime(0) AS converted_at,
    '' AS actual_tier,
    {run_at:DateTime} AS created_at
FROM {staging} AS staged
ANY LEFT JOIN {explanations} AS explanation USING (company_id, brand_id, user_id)
ANY LEFT JOIN (
    SELECT company_id, brand_id, argMax(subscription_tier, (sales, subscription_tier)) AS tier, argMax(monthly_price, (sales, subscription_tier)) AS price
    FROM (
        SELECT
            company_id,
            brand_id,
            subscription_tier,
            count() AS sales,
            ifNotFinite(quantileExactIf(stated, stated > 0), 0) AS monthly_price
        FROM (
            SELECT company_id, brand_id, subscription_tier, JSONExtractFloat(metadata, 'monthly_price') AS stated
            FROM user_accounts FINAL
            WHERE subscription_tier NOT IN ('free', '') AND subscription_start_date BETWEEN {date:Date} - 89 AND {date:Date}
        )
        GROUP BY company_id, brand_id, subscription_tier
    )
    GROUP BY company_id, brand_id
) AS sold USING (company_id, brand_id)
