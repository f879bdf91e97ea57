-- grain: (entity, run), one row of ml_model_predictions for every staged score that is a quantity, not a probability
-- parameters: run_id String, pipeline String, model_id String, model_version String, entity_type String, date Date, run_at DateTime; threshold Float64 if level needs it
-- placeholders: as in predictions.sql
-- units: prediction_value in the label's unit; a quantity has no probability, so prediction_probability and prediction_confidence are 0
SELECT * REPLACE (toFloat32(0) AS prediction_probability, toFloat32(0) AS prediction_confidence)
FROM ({include:shared/predictions.sql})
