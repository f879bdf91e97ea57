-- grain: (company_id, brand_id, user_id, article_id), the published click probabilities of a run, with names
-- parameters: run_id String, date Date
-- why: the reference tables replace by key, so they are read FINAL and joined ANY: a key that stands twice must not double a row
SELECT
    prediction.company_id AS company_id,
    prediction.brand_id AS brand_id,
    prediction.user_id AS user_id,
    brand.brand_name AS brand_name,
    article.title AS title,
    category.category_name AS category_name,
    author.author_name AS author_name,
    article.published_at AS published_at,
    prediction.prediction_probability AS click_probability,
    prediction.prediction_class AS click_level,
    device.device_type_name AS device_type_name,
    country.country_name AS country_name,
    city.city_name AS city_name
FROM
(
    SELECT company_id, brand_id, prediction_probability, prediction_class,
        JSONExtractString(input_features, 'user_id') AS user_id, JSONExtractString(input_features, 'article_id') AS article_id
    FROM ml_model_predictions
    WHERE batch_id = {run_id:String} AND prediction_date = {date:Date}
) AS prediction
ANY LEFT JOIN
(
    SELECT company_id, brand_id, user_id, preferred_device_type_id, primary_country_code, primary_city_id
    FROM customer_user_features
    WHERE feature_date = {date:Date}
) AS feature
    ON feature.company_id = prediction.company_id AND feature.brand_id = prediction.brand_id AND feature.user_id = prediction.user_id
ANY LEFT JOIN
(
    SELECT article_id AS id, title, primary_category_id, primary_author_id, toDateTime64(publish_time, 0, 'UTC') AS published_at
    FROM editorial_articles FINAL
) AS article ON article.id = prediction.article_id
ANY LEFT JOIN (SELECT author_id AS id, author_name FROM editorial_authors FINAL) AS author ON author.id = article.primary_author_id
ANY LEFT JOIN (SELECT brand_id AS id, brand_name FROM brands FINAL) AS brand ON brand.id = prediction.brand_id
ANY LEFT JOIN (SELECT category_id AS id, category_name FROM categories FINAL) AS category ON category.id = article.primary_category_id
ANY LEFT JOIN (SELECT device_type_id AS id, device_type_name FROM device_types FINAL) AS device ON device.id = feature.preferred_device_type_id
ANY LEFT JOIN (SELECT country_code AS id, country_name FROM countries FINAL) AS country ON country.id = feature.primary_country_code
ANY LEFT JOIN (SELECT city_id AS id, city_name FROM cities FINAL) AS city ON city.id = feature.primary_city_id
