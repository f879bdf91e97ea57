-- grain: one row, the sessions of the window
-- parameters: date Date (the last of the 28 days, in UTC)
-- placeholders: sessions (the table)
SELECT count()
FROM {sessions}
WHERE session_start >= toDateTime({date:Date} - 27, 'UTC') AND session_start < toDateTime({date:Date} + 1, 'UTC')
