-- grain: (entity, run), one row of ml_model_predictions for every staged score of a pipeline with label.kind classes
-- parameters: run_id String, pipeline String, model_id String, model_version String, entity_type String, date Date, run_at DateTime, classes Array(String)
-- placeholders: staging (the run's table), keys (its key columns), entity_id, company_id, brand_id (expressions)
-- units: prediction_probability and prediction_value are the probability of prediction_class; metadata.probabilities has the probability of each class
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, {keys})) AS prediction_id,
    {model_id:String} AS model_id,
    {pipeline:String} AS prediction_type,
    {entity_id} AS entity_id,
    {entity_type:String} AS entity_type,
    toFloat64(score) AS prediction_value,
    toFloat32(score) AS prediction_probability,
    predicted AS prediction_class,
    toFloat32(score) AS prediction_confidence,
    '{}' AS input_features,
    {run_at:DateTime} AS predicted_at,
    {date:Date} AS prediction_date,
    {company_id} AS company_id,
    {brand_id} AS brand_id,
    {run_id:String} AS batch_id,
    toJSONString(CAST(({model_version:String}, mapFromArrays(arraySlice({classes:Array(String)}, 1, length(probabilities)), probabilities)), 'Tuple(model_version String, probabilities Map(String, Float32))')) AS metadata,
    {run_at:DateTime} AS created_at
FROM {staging}
