-- grain: one metric of the predictions of a pipeline and date, for all of them or for a slice
-- parameters: first Date, slices_from Date (the slices of earlier dates are left out)
SELECT pipeline, date, kind, slice_column, slice_value, metric, value, low, high, rows, positives, reason, model_version
FROM raypipe_performance
WHERE date >= {first:Date} AND (slice_column = '' OR date >= {slices_from:Date})
ORDER BY pipeline, date, kind, slice_column, slice_value, metric
