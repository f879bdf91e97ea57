-- grain: (company_id, brand_id, user_id), every user of the day's snapshot, with names instead of ids
-- parameters: date Date (the snapshot)
-- why: the reference tables replace by key, so they are read with FINAL and joined with ANY: a key that occurs twice must not double a user
-- use: a report joins it to the published rows, `ANY LEFT JOIN ({include:shared/named_users.sql}) AS reader USING (company_id, brand_id, user_id)`
SELECT
    feature.company_id AS company_id,
    feature.brand_id AS brand_id,
    feature.user_id AS user_id,
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
    category.category_name AS preferred_category_name
FROM customer_user_features AS feature
ANY LEFT JOIN (SELECT brand_id AS id, brand_name FROM brands FINAL) AS brand ON brand.id = feature.brand_id
ANY LEFT JOIN (SELECT device_type_id AS id, device_type_name FROM device_types FINAL) AS device ON device.id = feature.preferred_device_type_id
ANY LEFT JOIN (SELECT os_id AS id, os_name FROM operating_systems FINAL) AS system ON system.id = feature.preferred_os_id
ANY LEFT JOIN (SELECT browser_id AS id, browser_name FROM browsers FINAL) AS browser ON browser.id = feature.preferred_browser_id
ANY LEFT JOIN (SELECT country_code AS id, country_name FROM countries FINAL) AS country ON country.id = feature.primary_country_code
ANY LEFT JOIN (SELECT city_id AS id, city_name FROM cities FINAL) AS city ON city.id = feature.primary_city_id
ANY LEFT JOIN (SELECT category_id AS id, category_name FROM categories FINAL) AS category ON category.id = feature.preferred_category_id
WHERE feature.feature_date = {date:Date}
