-- grain: a sweep, the newest first
-- parameters: many UInt8 (the most sweeps)
SELECT run_id
FROM ml_model_training_runs FINAL
WHERE run_type = 'SWEEP'
ORDER BY started_at DESC, run_id
LIMIT {many:UInt8}
