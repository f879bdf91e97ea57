-- grain: one fit that is at work, in the order of their starts
-- parameters: since DateTime (a fit that began earlier has lost its process)
SELECT splitByString('_fit_', run_id)[1] AS pipeline, run_id, started_at
FROM ml_model_training_runs FINAL
WHERE run_status = 'RUNNING' AND run_id LIKE '%\\_fit\\_%' AND started_at >= {since:DateTime}
ORDER BY started_at
