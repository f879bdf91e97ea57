-- grain: person (a hash of company_id, brand_id, user_id), every user with an event in customer_events in the window
-- parameters: date Date (the last day of the window)
-- placeholders: events (rows of event_rows.sql or event_days.sql)
-- window: the 28 days up to and including the date; columns that end in _7d cover the last 7 days
-- units: time_on_page in seconds, scroll_depth in percent; NULL without any reading
-- weighted: an event n days ago counts 2^(-n/7), in multiples of 1/1048576 so that a sum is the same in any order
SELECT
    person,
    sumIf(n, age < 7) AS events_7d,
    sum(n) AS events_28d,
    sum(n * toUInt64(round(1048576 * exp2(-age / 7)))) / 1048576 AS events_weighted,
    sumForEach(types) AS by_type,
    sum(time) / nullIf(sum(timed), 0) AS time_on_page,
    sum(scroll) / nullIf(sum(scrolled), 0) AS scroll_depth,
    sum(unreadable) AS unreadable_events
FROM
(
    SELECT
        person,
        toUInt8({date:Date} - day) AS age,
        events AS n,
        by_type AS types,
        time_on_page AS time,
        timed,
        scroll_depth AS scroll,
        scrolled,
        unreadable
    FROM ({events})
    WHERE day > {date:Date} - 28 AND day <= {date:Date}
)
GROUP BY person
