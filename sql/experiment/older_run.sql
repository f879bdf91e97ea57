-- grain: run of a pipeline that the ledger shows as published, the newest date first
-- parameters: pipeline String
SELECT run_id, date, published_at
FROM raypipe_runs FINAL
WHERE pipeline = {pipeline:String} AND status = 'PUBLISHED'
ORDER BY date DESC, sequence DESC
