-- grain: (person, day), the rows of event_rows.sql added up
-- placeholders: rows (event_rows.sql)
SELECT
    person,
    day,
    toUInt32(sum(r.events)) AS events,
    sumForEach(r.by_type) AS by_type,
    sum(r.time_on_page) AS time_on_page,
    toUInt32(sum(r.timed)) AS timed,
    sum(r.scroll_depth) AS scroll_depth,
    toUInt32(sum(r.scrolled)) AS scrolled,
    toUInt32(sum(r.unreadable)) AS unreadable
FROM ({rows}) AS r
GROUP BY person, day
