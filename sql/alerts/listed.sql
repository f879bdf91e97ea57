-- grain: alert, those that have opened, the open ones first, then the latest
-- parameters: pipeline String ('' for all), limit UInt32
SELECT
    alert_id, rule, pipeline, metric, subject, slice_column, slice_value, severity, status, value, message, dates, opened_at, resolved_at, sent
FROM raypipe_alerts FINAL
WHERE status IN ('open', 'resolved') AND {pipeline:String} IN ('', pipeline)
ORDER BY status, opened_at DESC, rule, pipeline, subject, slice_column, slice_value
LIMIT {limit:UInt32}
