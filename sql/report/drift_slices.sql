-- grain: one column of a slice of a run that moved beyond a limit
-- parameters: first Date, reference String
SELECT pipeline, date, slice_column, slice_value, column, psi, status
FROM raypipe_drift
WHERE slice_column != '' AND reference = {reference:String} AND date >= {first:Date} AND status IN ('warning', 'alert')
ORDER BY pipeline, date, psi DESC
LIMIT 2000
