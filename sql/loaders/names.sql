-- grain: as {features}; a key that occurs twice in a reference table never doubles a row
-- placeholders: features (a SELECT with the columns of user_features.sql)
-- units: a name is '' if the reference table lacks the key; brand_name belongs to brand_id, the others to the preferred or primary id
SELECT
    features.*,
    brand.name AS brand_name,
    brand.code AS brand_code,
    preferred_brand.name AS preferred_brand_name,
    category.name AS category_name,
    device.name AS device_type_name,
    os.name AS os_name,
    browser.name AS browser_name,
    country.name AS country_name,
    city.name AS city_name
FROM ({features}) AS features
ANY LEFT JOIN (SELECT brand_id AS id, brand_name AS name, brand_code AS code FROM brands FINAL) AS brand
    ON brand.id = features.brand_id
ANY LEFT JOIN (SELECT brand_id AS id, brand_name AS name FROM brands FINAL) AS preferred_brand
    ON preferred_brand.id = features.preferred_brand_id
ANY LEFT JOIN (SELECT category_id AS id, category_name AS name FROM categories FINAL) AS category
    ON category.id = features.preferred_category_id
ANY LEFT JOIN (SELECT device_type_id AS id, device_type_name AS name FROM device_types FINAL) AS device
    ON device.id = features.preferred_device_type_id
ANY LEFT JOIN (SELECT os_id AS id, os_name AS name FROM operating_systems FINAL) AS os
    ON os.id = features.preferred_os_id
ANY LEFT JOIN (SELECT browser_id AS id, browser_name AS name FROM browsers FINAL) AS browser
    ON browser.id = features.preferred_browser_id
ANY LEFT JOIN (SELECT country_code AS id, country_name AS name FROM countries FINAL) AS country
    ON country.id = features.primary_country_code
ANY LEFT JOIN (SELECT city_id AS id, city_name AS name FROM cities FINAL) AS city
    ON city.id = features.primary_city_id
