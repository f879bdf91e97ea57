-- grain: (context), one row of ml_model_predictions for every staged context
-- parameters: run_id String, pipeline String, model_id String, entity_type String, date Date, run_at DateTime
-- placeholders: staging (the run's table), entity_id, company_id, brand_id (expressions)
-- units: prediction_value in revenue per impression; prediction_probability is the arm's share of impressions under the policy, prediction_confidence the probability that it is the best arm
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, context)) AS prediction_id,
    {model_id:String} AS model_id,
    {pipeline:String} AS prediction_type,
    {entity_id} AS entity_id,
    {entity_type:String} AS entity_type,
    expected AS prediction_value,
    toFloat32(share) AS prediction_probability,
    arm AS prediction_class,
    toFloat32(best) AS prediction_confidence,
    observed AS input_features,
    {run_at:DateTime} AS predicted_at,
    {date:Date} AS prediction_date,
    {company_id} AS company_id,
    {brand_id} AS brand_id,
    {run_id:String} AS batch_id,
    answer AS metadata,
    {run_at:DateTime} AS created_at
FROM {staging}
