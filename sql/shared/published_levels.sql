-- grain: (prediction_class, brand_id), the published predictions of a run, lower scores first
-- parameters: run_id String, run_at DateTime (when the run began)
-- why: brands replace by key, so they are read with FINAL and joined with ANY
SELECT
    prediction_class AS level,
    if(any(named.name) = '', prediction.brand_id, any(named.name)) AS brand,
    count() AS users,
    avg(prediction_value) AS mean_score
FROM ml_model_predictions AS prediction
ANY LEFT JOIN (SELECT brand_id AS id, brand_name AS name FROM brands FINAL) AS named ON named.id = prediction.brand_id
WHERE predicted_at = {run_at:DateTime} AND batch_id = {run_id:String}
GROUP BY prediction_class, prediction.brand_id
ORDER BY min(prediction_value), brand
