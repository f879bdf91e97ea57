-- grain: one column of a run beside its reference, all rows of the run
-- parameters: first Date, features_from Date (the features of earlier nights are left out), pipelines Array(String), references Array(String) (of each)
-- units: psi as in raypipe_drift
SELECT pipeline, date, column, psi, status, reason
FROM raypipe_drift
WHERE slice_column = '' AND reference = transform(pipeline, {pipelines:Array(String)}, {references:Array(String)}, '') AND date >= {first:Date} AND (column = 'score' OR date >= {features_from:Date})
ORDER BY pipeline, date, column
