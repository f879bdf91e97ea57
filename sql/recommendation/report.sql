-- grain: (company_id, brand_id, user_id, rank_position), the committed recommendations of a run, with names
-- parameters: run_id String, date Date
SELECT
    recommended.company_id AS company_id,
    recommended.brand_id AS brand_id,
    recommended.user_id AS user_id,
    reader.brand_name AS brand_name,
    recommended.rank_position AS rank_position,
    article.title AS title,
    article.category_name AS category_name,
    article.author_name AS author_name,
    article.published_at AS published_at,
    recommended.recommendation_type AS recommendation_type,
    recommended.recommendation_score AS recommendation_score,
    reader.device_type_name AS device_type_name,
    reader.country_name AS country_name,
    reader.city_name AS city_name
FROM
(
    SELECT company_id, brand_id, user_id, article_id, rank_position, recommendation_type, recommendation_score
    FROM raypipe_current_customer_recommendations
    WHERE (created_at, model_version) IN (SELECT toDateTime(started_at, 'UTC'), model_version FROM raypipe_runs FINAL WHERE run_id = {run_id:String})
) AS recommended
ANY LEFT JOIN ({include:shared/named_users.sql}) AS reader USING (company_id, brand_id, user_id)
ANY LEFT JOIN ({include:shared/named_articles.sql}) AS article USING (article_id)
ORDER BY company_id, brand_id, user_id, rank_position
