-- grain: one row: the rows and the units of a 64th of all units
-- placeholders: rows (rows.sql), keys
SELECT count(), uniqExact(tuple({keys}))
FROM
(
{rows}
)
WHERE cityHash64({keys}) % 64 = 0
