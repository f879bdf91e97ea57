-- grain: (reader_id, rank_position), one row of customer_recommendations for every article of a list
-- parameters: run_id String, model_version String, date Date, run_at DateTime, timezone String (of the date)
-- placeholders: staging (the run's table: a list of articles per reader)
-- units: recommendation_score in the model's unit, falling with the rank; rank_position from 1
-- expires_at: a week after the day of the lists
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, reader_id, article_id)) AS recommendation_id,
    reader_id AS user_id,
    article_id,
    if(popular = 1, 'popular', 'personal') AS recommendation_type,
    recommendation_score,
    toUInt16(position) AS rank_position,
    {model_version:String} AS model_version,
    if(popular = 1, 'popularity', 'hybrid') AS algorithm,
    {run_at:DateTime} AS created_at,
    toDateTime({date:Date} + 8, {timezone:String}) AS expires_at
FROM {staging}
ARRAY JOIN articles AS article_id, scores AS recommendation_score, arrayEnumerate(articles) AS position
