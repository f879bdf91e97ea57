-- grain: (company_id, brand_id, user_id), the published predictions of a run with what is known of the user, and with names
-- parameters: run_id String, date Date
-- why: the reference tables replace by key, so they are read FINAL and joined ANY: a key that stands twice must not double a user
-- use: a report.sql selects from it what its readers should see, `FROM ({include:shared/named_predictions.sql})`
SELECT
    prediction.company_id AS company_id,
    prediction.brand_id AS brand_id,
    prediction.entity_id AS user_id,
    prediction.prediction_value AS prediction_value,
    prediction.prediction_probability AS prediction_probability,
    prediction.prediction_class AS prediction_class,
    prediction.prediction_confidence AS prediction_confidence,
    brand.brand_name AS brand_name,
    feature.total_sessions AS total_sessions,
    feature.days_since_last_session AS days_since_last_session,
    feature.avg_engagement_score AS avg_engagement_score,
    feature.current_subscription_tier AS subscription_tier,
    device.device_type_name AS device_type_name,
    system.os_name AS os_name,
    browser.browser_name AS browser_name,
    country.country_name AS country_name,
    city.city_name AS city_name,
    category.category_name AS category_name
FROM
(
    SELECT company_id, brand_id, entity_id, prediction_value, prediction_probability, prediction_class, prediction_confidence
    FROM ml_model_predictions
    WHERE batch_id = {run_id:String} AND prediction_date = {date:Date}
) AS prediction
ANY LEFT JOIN
(
    SELECT company_id, brand_id, user_id, total_sessions, days_since_last_session, avg_engagement_score, current_subscription_tier,
        preferred_device_type_id, preferred_os_id, preferred_browser_id, preferred_category_id, primary_country_code, primary_city_id
    FROM customer_user_features
    WHERE feature_date = {date:Date}
) AS feature
    ON feature.company_id = prediction.company_id AND feature.brand_id = prediction.brand_id AND feature.user_id = prediction.entity_id
ANY LEFT JOIN (SELECT brand_id AS id, brand_name FROM brands FINAL) AS brand ON brand.id = prediction.brand_id
ANY LEFT JOIN (SELECT device_type_id AS id, device_type_name FROM device_types FINAL) AS device ON device.id = feature.preferred_device_type_id
ANY LEFT JOIN (SELECT os_id AS id, os_name FROM operating_systems FINAL) AS system ON system.id = feature.preferred_os_id
ANY LEFT JOIN (SELECT browser_id AS id, browser_name FROM browsers FINAL) AS browser ON browser.id = feature.preferred_browser_id
ANY LEFT JOIN (SELECT country_code AS id, country_name FROM countries FINAL) AS country ON country.id = feature.primary_country_code
ANY LEFT JOIN (SELECT city_id AS id, city_name FROM cities FINAL) AS city ON city.id = feature.primary_city_id
ANY LEFT JOIN (SELECT category_id AS id, category_name FROM categories FINAL) AS category ON category.id = feature.preferred_category_id
