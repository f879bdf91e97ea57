-- grain: person (a hash of company_id, brand_id, user_id), every user with a session in the window
-- parameters: date Date (the last day of the window)
-- placeholders: sessions (rows of session_rows.sql or session_days.sql)
-- window: the 84 days up to and including the date; a suffix such as _7d names another number of days
-- units: engagement in points of engagement_score
-- weighted: a session n days ago counts 2^(-n/7), or 2^(-n/2) and 2^(-n/28), in multiples of 1/1048576 so that a sum is the same in any order
WITH
    arraySum(n -> bitShiftLeft(toUInt64(toDayOfWeek({date:Date} - n) > 5), n), range(64)) AS weekends_0,
    arraySum(n -> bitShiftLeft(toUInt64(toDayOfWeek({date:Date} - 64 - n) > 5), n), range(20)) AS weekends_64
SELECT
    person,
    sumIf(n, age < 7) AS sessions_7d,
    sumIf(n, age < 28) AS sessions_28d,
    sum(n) AS sessions_84d,
    sumIf(n * weight, age < 28) / 1048576 AS sessions_weighted,
    sumIf(n * toUInt64(round(1048576 * exp2(-age / 2))), age < 28) / 1048576 AS sessions_weighted_2,
    sum(n * slow) / 1048576 AS sessions_weighted_28,
    -- A bit per day of the window.
    groupBitOrIf(bit, age < 64) AS days_0,
    groupBitOrIf(bit, age >= 64) AS days_64,
    bitCount(bitAnd(days_0, 268435455)) AS active_days,
    bitCount(days_0) + bitCount(days_64) AS active_days_84d,
    bitCount(bitAnd(days_0, weekends_0)) + bitCount(bitAnd(days_64, weekends_64)) AS active_weekends_84d,
    min(age) AS idle,
    -- The days with a session, the newest first, as days before the date; a gap of 1 is no pause.
    arrayConcat(bitPositionsToArray(days_0), arrayMap(n -> n + 64, bitPositionsToArray(days_64))) AS days,
    arrayDifference(days) AS gaps,
    toUInt8(arrayMax(gaps)) AS longest_pause,
    toUInt8(days[greatest(1, indexOf(gaps, longest_pause) - 1)]) AS pause_ended,
    toUInt8(days[-1]) AS first_active,
    sumIf(points, age < 7) / 1024 AS engagement_7d,
    sumIf(points, age < 28) / 1024 AS engagement_28d,
    sumIf(points * weight, age < 28) / 1024 / 1048576 AS engagement_weighted,
    sum(points * slow) / 1024 / 1048576 AS engagement_weighted_28,
    sum(log_seconds) / 1048576 AS log_seconds,
    sum(from_search) AS from_search,
    sum(from_newsletter) AS from_newsletter
FROM
(
    SELECT
        person,
        toUInt8({date:Date} - day) AS age,
        toInt64(round(1048576 * exp2(-age / 7))) AS weight,
        toInt64(round(1048576 * exp2(-age / 28))) AS slow,
        bitShiftLeft(toUInt64(1), age % 64) AS bit,
        sessions AS n,
        points,
        log_seconds,
        from_search,
        from_newsletter
    FROM ({sessions})
    WHERE day > {date:Date} - 84 AND day <= {date:Date}
)
GROUP BY person
