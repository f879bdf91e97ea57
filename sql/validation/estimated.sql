-- grain: (run, metric), the estimates of a pipeline's runs over all of their predictions
-- parameters: pipeline String
SELECT run_id, metric, value, low, high, rows, reason
FROM raypipe_performance
WHERE pipeline = {pipeline:String} AND kind = 'estimated' AND slice_column = ''
ORDER BY date, run_id, metric
