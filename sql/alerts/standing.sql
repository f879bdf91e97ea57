-- grain: alert, those that are pending, open, or resolved after a time
-- parameters: since DateTime64(6), the earliest resolved_at
SELECT
    alert_id, rule, pipeline, metric, subject, slice_column, slice_value, severity, status, value, message, dates, opened_at, resolved_at, sent
FROM raypipe_alerts FINAL
WHERE status IN ('pending', 'open') OR (status = 'resolved' AND resolved_at >= {since:DateTime64(6, 'UTC')})
ORDER BY opened_at, rule, pipeline, subject, slice_column, slice_value
