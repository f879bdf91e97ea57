-- grain: a sweep, or a matrix of sweeps
-- parameters: sweep String (its name)
SELECT toUnixTimestamp(started_at), run_status, hyperparameters, test_metrics
FROM ml_model_training_runs FINAL
WHERE run_type = 'SWEEP' AND run_id = {sweep:String}
ORDER BY started_at
LIMIT 1
