-- grain: (kind, metric, slice), the performance on the newest date of each kind, of a pipeline's own runs
-- parameters: pipeline String
SELECT kind, date, metric, slice_column, slice_value, value
FROM raypipe_performance
WHERE pipeline = {pipeline:String} AND run_id != '' AND value IS NOT NULL
    AND (kind, date) IN (
        SELECT kind, max(date) FROM raypipe_performance WHERE pipeline = {pipeline:String} AND run_id != '' GROUP BY kind
    )
ORDER BY kind, metric, slice_column, slice_value
