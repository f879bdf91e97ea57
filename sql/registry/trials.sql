-- grain: a trial of one sweep
-- parameters: sweep String (the sweep's name; the run ids of its trials begin with it)
SELECT run_id, run_status, toUnixTimestamp(started_at)
FROM ml_model_training_runs FINAL
WHERE run_type = 'TUNING' AND startsWith(run_id, concat({sweep:String}, '_'))
