-- grain: (company_id, brand_id, user_id), one row of customer_churn_predictions for every staged score
-- parameters: run_id String, model_version String, date Date, run_at DateTime
-- placeholders: staging (the run's table), explanations (keys and contributions of the highest risks), level (an expression)
-- units: churn_probability and model_confidence from 0 to 1; feature_importance is JSON, '' if a row was not explained
-- is_churned, churned_date: always 0 and 1970-01-01, as published rows never change; `raypipe validate churn` compares the
--     predictions with the outcomes in the sessions
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, company_id, brand_id, user_id)) AS prediction_id,
    user_id,
    company_id,
    brand_id,
    {date:Date} AS prediction_date,
    score AS churn_probability,
    {level} AS churn_risk_level,
    0 AS is_churned,
    toDate(0) AS churned_date,
    {model_version:String} AS model_version,
    toFloat32(greatest(score, 1 - score)) AS model_confidence,
    explanation.contributions AS feature_importance,
    days_since_last_session,
    total_sessions,
    avg_engagement_score,
    current_subscription_tier AS subscription_tier,
    {run_at:DateTime} AS created_at
FROM {staging} AS staged
ANY LEFT JOIN {explanations} AS explanation USING (company_id, brand_id, user_id)
