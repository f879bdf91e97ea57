-- grain: (feature, slice), the drift of the newest date of a pipeline; `score` for the score
-- parameters: pipeline String, reference String (of the comparison)
-- units: psi, the largest of a feature's columns; why, the reason of its alert
SELECT date, feature, slice_column, slice_value, max(psi) AS largest, max(status = 'alert') AS is_alert, any(reference_date) AS earlier, argMax(reason, (status = 'alert', psi)) AS why
FROM raypipe_drift
WHERE pipeline = {pipeline:String} AND reference = {reference:String} AND status != 'not_compared' AND isFinite(psi)
    AND date = (SELECT max(date) FROM raypipe_drift WHERE pipeline = {pipeline:String})
GROUP BY date, feature, slice_column, slice_value
ORDER BY feature, slice_column, slice_value
