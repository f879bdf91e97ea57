-- grain: (entity, run), one row of ml_model_predictions for every staged score that is a quantity, not a probability
-- parameters: run_id String, pipeline String, model_id String, model_version String, entity_type String, date Date, run_at DateTime; threshold Float64 where level asks for it
-- placeholders: staging (the run's table), keys (its key columns), entity_id, company_id, brand_id (expressions), level (an expression: the level's name)
-- units: prediction_value in the label's own; prediction_probability and prediction_confidence are 0, as a quantity has none
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, {keys})) AS prediction_id,
    {model_id:String} AS model_id,
    {pipeline:String} AS prediction_type,
    {entity_id} AS entity_id,
    {entity_type:String} AS entity_type,
    toFloat64(score) AS prediction_value,
    toFloat32(0) AS prediction_probability,
    {level} AS prediction_class,
    toFloat32(0) AS prediction_confidence,
    '{}' AS input_features,
    {run_at:DateTime} AS predicted_at,
    {date:Date} AS prediction_date,
    {company_id} AS company_id,
    {brand_id} AS brand_id,
    {run_id:String} AS batch_id,
    toJSONString(map('model_version', {model_version:String})) AS metadata,
    {run_at:DateTime} AS created_at
FROM {staging}
