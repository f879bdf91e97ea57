-- grain: (company_id, brand_id, user_id, article_id), one row of customer_recommendations for every article of a list
-- parameters: run_id String, model_version String, date Date, run_at DateTime, timezone String (of the date)
-- placeholders: staging (the run's table: a list of articles per user)
-- units: recommendation_score in the model's unit, falling with the rank; rank_position from 1
-- expires_at: a week after the day of the lists
-- why: an article can occur twice until its versions are merged, so the table is read with FINAL and joined with ANY
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, company_id, brand_id, user_id, article_id)) AS recommendation_id,
    user_id,
    company_id,
    brand_id,
    article_id,
    article.primary_category_id AS category_id,
    if(popular = 1, 'popular', 'personal') AS recommendation_type,
    recommendation_score,
    toUInt16(position) AS rank_position,
    {model_version:String} AS model_version,
    if(popular = 1, 'popularity', 'hybrid') AS algorithm,
    toDateTime(0) AS clicked_at,
    toDateTime(0) AS viewed_at,
    {run_at:DateTime} AS created_at,
    toDateTime({date:Date} + 8, {timezone:String}) AS expires_at
FROM
(
    SELECT company_id, brand_id, user_id, popular, article_id, recommendation_score, position
    FROM {staging}
    ARRAY JOIN articles AS article_id, scores AS recommendation_score, arrayEnumerate(articles) AS position
) AS listed
ANY LEFT JOIN (SELECT article_id AS id, primary_category_id FROM editorial_articles FINAL) AS article ON article.id = listed.article_id
