-- grain: (company_id, brand_id, user_id), the committed predictions of a run with the user's facts and names
-- parameters: run_id String, date Date
-- use: a report.sql selects its columns from this file, `FROM ({include:shared/named_predictions.sql})`
SELECT
    prediction.company_id AS company_id,
    prediction.brand_id AS brand_id,
    prediction.user_id AS user_id,
    prediction.prediction_id AS prediction_id,
    prediction.prediction_value AS prediction_value,
    prediction.prediction_probability AS prediction_probability,
    prediction.prediction_class AS prediction_class,
    prediction.prediction_confidence AS prediction_confidence,
    reader.brand_name AS brand_name,
    reader.total_sessions AS total_sessions,
    reader.days_since_last_session AS days_since_last_session,
    reader.avg_engagement_score AS avg_engagement_score,
    reader.subscription_tier AS subscription_tier,
    reader.device_type_name AS device_type_name,
    reader.os_name AS os_name,
    reader.browser_name AS browser_name,
    reader.country_name AS country_name,
    reader.city_name AS city_name,
    reader.preferred_category_name AS category_name
FROM
(
    SELECT prediction_id, company_id, brand_id, entity_id AS user_id, prediction_value, prediction_probability, prediction_class, prediction_confidence
    FROM raypipe_current_predictions
    WHERE batch_id = {run_id:String} AND prediction_date = {date:Date}
) AS prediction
ANY LEFT JOIN ({include:shared/named_users.sql}) AS reader USING (company_id, brand_id, user_id)
