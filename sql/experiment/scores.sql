-- grain: unit, its mean published score in one run
-- parameters: score_run String, score_pipeline String, score_date Date
-- placeholders: keys (columns of ml_model_predictions under the names of the units' keys)
-- why: a reader may have a score per brand where the unit is the reader; toNullable tells a unit without a score
SELECT {keys}, toNullable(avg(prediction_value)) AS raypipe_score
FROM raypipe_current_predictions
WHERE prediction_type = {score_pipeline:String} AND prediction_date = {score_date:Date} AND batch_id = {score_run:String}
GROUP BY ALL
