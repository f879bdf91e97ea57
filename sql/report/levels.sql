-- grain: (brand_id, prediction_class), the committed predictions of a run, lower scores first
-- parameters: pipeline String, date Date
SELECT brand_id, prediction_class, count() AS predictions, avg(prediction_value) AS mean
FROM raypipe_current_predictions
WHERE prediction_type = {pipeline:String} AND prediction_date = {date:Date}
GROUP BY brand_id, prediction_class
ORDER BY min(prediction_value), brand_id
