-- grain: (customer_id, run), one row of ml_model_predictions for every customer
-- parameters: run_id String, pipeline String, model_id String, model_version String, entity_type String, date Date, run_at DateTime
-- placeholders: staging (the run's table), keys, entity_id, company_id, brand_id (expressions)
-- units: prediction_value from 0 (on the border of two segments) to 1 (in the middle of a segment)
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, {keys})) AS prediction_id,
    {model_id:String} AS model_id,
    {pipeline:String} AS prediction_type,
    {entity_id} AS entity_id,
    {entity_type:String} AS entity_type,
    toFloat64(score) AS prediction_value,
    toString(cluster) AS prediction_class,
    toFloat32(score) AS prediction_confidence,
    '{}' AS input_features,
    {run_at:DateTime} AS predicted_at,
    {date:Date} AS prediction_date,
    {company_id} AS company_id,
    {brand_id} AS brand_id,
    {run_id:String} AS batch_id,
    toJSONString(map('model_version', {model_version:String})) AS metadata,
    {run_at:DateTime} AS created_at
FROM {staging}
