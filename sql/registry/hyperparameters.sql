-- grain: the fit that made a version
-- parameters: model_id String
SELECT hyperparameters
FROM ml_model_training_runs FINAL
WHERE model_id = {model_id:String}
ORDER BY started_at DESC
LIMIT 1
