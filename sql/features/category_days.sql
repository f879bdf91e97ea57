-- grain: (reader, day, category), the rows of category_rows.sql added up
-- placeholders: rows (category_rows.sql)
SELECT reader, day, category, toUInt32(sum(r.events)) AS events
FROM ({rows}) AS r
GROUP BY reader, day, category
