-- grain: (person, day), the rows of session_rows.sql added up
-- placeholders: rows (session_rows.sql)
SELECT
    person,
    day,
    toUInt32(sum(r.sessions)) AS sessions,
    sum(r.points) AS points,
    sum(r.log_seconds) AS log_seconds,
    toUInt32(sum(r.from_search)) AS from_search,
    toUInt32(sum(r.from_newsletter)) AS from_newsletter
FROM ({rows}) AS r
GROUP BY person, day
