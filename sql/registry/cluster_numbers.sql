-- grain: a number that a cluster of any version of a pipeline had
-- parameters: pipeline String
-- Numbers of versions that never published, or that a rollback withdrew, count as well: readers may have seen any of them.
SELECT DISTINCT arrayJoin(JSONExtract(training_metrics, 'curves', 'numbers', 'Array(UInt16)')) AS number
FROM ml_model_training_runs FINAL
WHERE run_status = 'COMPLETED' AND model_id IN (SELECT model_id FROM ml_model_registry WHERE model_code = {pipeline:String})
ORDER BY number
