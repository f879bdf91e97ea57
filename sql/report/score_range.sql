-- grain: the committed scores of a run: their number, range and mean, and the number of scores that are not finite
-- parameters: pipeline String, date Date
SELECT
    count() AS predictions,
    minIf(prediction_value, isFinite(prediction_value)) AS low,
    maxIf(prediction_value, isFinite(prediction_value)) AS high,
    avgIf(prediction_value, isFinite(prediction_value)) AS mean,
    countIf(NOT isFinite(prediction_value)) AS unusable
FROM raypipe_current_predictions
WHERE prediction_type = {pipeline:String} AND prediction_date = {date:Date}
