-- grain: a trial of one sweep
-- parameters: sweep String (the sweep's name, with which the run ids of its trials begin)
SELECT
    substring(run_id, length({sweep:String}) + 2) AS trial,
    run_status,
    toUnixTimestamp(started_at),
    hyperparameters,
    training_metrics,
    validation_metrics,
    error_message
FROM ml_model_training_runs FINAL
WHERE run_type = 'TUNING' AND startsWith(run_id, concat({sweep:String}, '_'))
ORDER BY started_at, trial
