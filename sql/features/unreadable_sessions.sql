-- grain: one row, the known readers' sessions up to the end of the day whose categories_visited is not a JSON array
-- parameters: date Date, timezone String (of the days)
-- placeholders: sessions (the table)
SELECT countIf(toString(JSONType(categories_visited)) != 'Array')
FROM {sessions}
PREWHERE session_start < toDateTime({date:Date} + 1, {timezone:String})
WHERE user_id != '' AND categories_visited NOT IN ('', '[]')
