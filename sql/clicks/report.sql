-- grain: (company_id, brand_id, user_id, article_id), the committed click probabilities of a run, with names
-- parameters: run_id String, date Date
SELECT
    prediction.company_id AS company_id,
    prediction.brand_id AS brand_id,
    prediction.user_id AS user_id,
    reader.brand_name AS brand_name,
    article.title AS title,
    article.category_name AS category_name,
    article.author_name AS author_name,
    article.published_at AS published_at,
    prediction.prediction_probability AS click_probability,
    prediction.prediction_class AS click_level,
    reader.device_type_name AS device_type_name,
    reader.country_name AS country_name,
    reader.city_name AS city_name
FROM
(
    SELECT company_id, brand_id, prediction_probability, prediction_class,
        JSONExtractString(input_features, 'user_id') AS user_id, JSONExtractString(input_features, 'article_id') AS article_id
    FROM raypipe_current_predictions
    WHERE batch_id = {run_id:String} AND prediction_date = {date:Date}
) AS prediction
ANY LEFT JOIN ({include:shared/named_users.sql}) AS reader USING (company_id, brand_id, user_id)
ANY LEFT JOIN ({include:shared/named_articles.sql}) AS article USING (article_id)
ORDER BY click_probability DESC, company_id, brand_id, user_id, title
