-- grain: one episode of an alert that was or is open, the newest first
-- parameters: first Date
SELECT rule, pipeline, metric, subject, slice_column, slice_value, severity, status, value, message, dates, opened_at, resolved_at
FROM raypipe_alerts FINAL
WHERE status IN ('open', 'resolved') AND dates[-1] >= {first:Date}
ORDER BY opened_at DESC
