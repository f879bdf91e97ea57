-- grain: one column of a slice of a run that moved beyond a limit
-- parameters: first Date, pipelines Array(String), references Array(String) (of each)
SELECT pipeline, date, slice_column, slice_value, column, psi, status
FROM raypipe_drift
WHERE slice_column != '' AND reference = transform(pipeline, {pipelines:Array(String)}, {references:Array(String)}, '') AND date >= {first:Date} AND status IN ('warning', 'alert')
ORDER BY pipeline, date, psi DESC
LIMIT 2000
