-- grain: one row, the number of sessions in the window and their mean engagement, in points of engagement_score
-- parameters: date Date (the last of the 28 days), timezone String (of the days)
-- placeholders: sessions (the table)
SELECT count(), ifNotFinite(avgIf(engagement_score, isFinite(engagement_score)), 0)
FROM {sessions}
WHERE session_start >= toDateTime({date:Date} - 27, {timezone:String}) AND session_start < toDateTime({date:Date} + 1, {timezone:String})
