-- grain: one row, the number of predictions of a batch
-- parameters: batch String, prediction_type String, prediction_date Date
SELECT count()
FROM ml_model_predictions
WHERE prediction_type = {prediction_type:String} AND prediction_date = {prediction_date:Date} AND batch_id = {batch:String}
