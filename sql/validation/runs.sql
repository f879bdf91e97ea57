-- grain: date, the run of a pipeline whose predictions of that date raypipe_current_predictions shows
-- parameters: pipeline String
SELECT date, run_id, model_id, model_version
FROM raypipe_runs FINAL
WHERE pipeline = {pipeline:String} AND status = 'PUBLISHED'
ORDER BY date DESC, sequence DESC, run_id DESC
LIMIT 1 BY date
