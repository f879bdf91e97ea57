-- grain: entity, the committed predictions of a run of a pipeline without a report.sql, with the brands' names
-- parameters: run_id String, date Date
-- why: brands replace by key, so they are read with FINAL and joined with ANY
SELECT
    prediction.entity_id AS entity_id,
    brand.brand_name AS brand_name,
    prediction.prediction_value AS prediction_value,
    prediction.prediction_class AS prediction_class
FROM
(
    SELECT entity_id, brand_id, prediction_value, prediction_class
    FROM raypipe_current_predictions
    WHERE batch_id = {run_id:String} AND prediction_date = {date:Date}
) AS prediction
ANY LEFT JOIN (SELECT brand_id AS id, brand_name FROM brands FINAL) AS brand ON brand.id = prediction.brand_id
ORDER BY prediction_value DESC, entity_id
