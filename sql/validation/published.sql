-- grain: entity (a hash of the entity key), the published predictions of a run
-- parameters: pipeline String, date Date, run_id String
-- placeholders: keys (the entity key as text, as columns of ml_model_predictions)
SELECT murmurHash3_128({keys}) AS entity, prediction_value AS score, prediction_class AS level
FROM raypipe_current_predictions
WHERE prediction_type = {pipeline:String} AND prediction_date = {date:Date} AND batch_id = {run_id:String}
