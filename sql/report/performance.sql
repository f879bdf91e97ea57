-- grain: one metric of a run's predictions, for all of them or for a slice; those of other tools are left out
-- parameters: first Date, slices_from Date (the slices of earlier dates are left out)
SELECT pipeline, date, kind, slice_column, slice_value, metric, value, low, high, rows, reason
FROM raypipe_performance
WHERE run_id != '' AND date >= {first:Date} AND (slice_column = '' OR date >= {slices_from:Date})
ORDER BY pipeline, date, kind, slice_column, slice_value, metric
