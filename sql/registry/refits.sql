-- grain: one fit of a pipeline as of a date, of `raypipe fit` or of a night, the newest first
-- parameters: pipeline String
SELECT
    run_status,
    JSONExtractString(hyperparameters, 'refit', 'trigger') AS trigger,
    toDateOrNull(JSONExtractString(hyperparameters, 'refit', 'date')) AS date
FROM ml_model_training_runs FINAL
WHERE run_type = 'fit' AND date IS NOT NULL
    AND model_id IN (SELECT model_id FROM ml_model_registry WHERE model_code = {pipeline:String})
ORDER BY started_at DESC
