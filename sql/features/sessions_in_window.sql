-- grain: one row, the sessions of the window
-- parameters: date Date (the last of the 28 days), timezone String (of the days)
-- placeholders: sessions (the table)
SELECT count()
FROM {sessions}
WHERE session_start >= toDateTime({date:Date} - 27, {timezone:String}) AND session_start < toDateTime({date:Date} + 1, {timezone:String})
