-- grain: (reader, day, article, category, author), the rows of content_rows.sql added up
-- placeholders: rows (content_rows.sql)
SELECT
    reader,
    day,
    article,
    category,
    author,
    toUInt32(sum(r.events)) AS events,
    sumForEach(r.by_type) AS by_type,
    toUInt32(sum(r.aged)) AS aged,
    sum(r.article_age) AS article_age
FROM ({rows}) AS r
GROUP BY reader, day, article, category, author
