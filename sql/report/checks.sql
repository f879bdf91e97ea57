-- grain: one expectation of a planned run that was not met, the newest first
-- parameters: first Date
SELECT pipeline, date, check, column, found, allowed, status, reason
FROM raypipe_checks FINAL
WHERE status IN ('warning', 'refused') AND date >= {first:Date}
ORDER BY date DESC, pipeline, check, column
