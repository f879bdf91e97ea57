-- grain: (company_id, brand_id, user_id, article_id), one row of ml_model_predictions for every staged score
-- parameters: run_id String, pipeline String, model_id String, model_version String, entity_type String, date Date, run_at DateTime; threshold Float64 if level needs it
-- placeholders: staging (the run's table), level (an expression: the level's name)
-- units: the score is the probability, from 0 to 1, that the user clicks on the article when it is shown
-- entity_id: the user's id and the article's, joined by /
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, company_id, brand_id, user_id, article_id)) AS prediction_id,
    {model_id:String} AS model_id,
    {pipeline:String} AS prediction_type,
    concat(user_id, '/', article_id) AS entity_id,
    {entity_type:String} AS entity_type,
    toFloat64(score) AS prediction_value,
    score AS prediction_probability,
    {level} AS prediction_class,
    toFloat32(greatest(score, 1 - score)) AS prediction_confidence,
    toJSONString(map('user_id', user_id, 'article_id', article_id)) AS input_features,
    {run_at:DateTime} AS predicted_at,
    {date:Date} AS prediction_date,
    company_id,
    brand_id,
    {run_id:String} AS batch_id,
    toJSONString(map('model_version', {model_version:String})) AS metadata,
    {run_at:DateTime} AS created_at
FROM {staging}
