-- grain: one row for a column that refers to another table's
-- placeholders: child (a relation with the reference as v0), parent (one with the key as v0), filled (a predicate on v0), most (a number)
-- units: values are different ones, at most {most} of them, chosen by their hash; rows are the child's that have these values
-- The parent is read once and never held: only the values looked up are. These are a scalar, which is computed once: a
-- child of which the first rows are read might yield others when it is asked again.
WITH (
    SELECT groupArray((value, amount))
    FROM (
        SELECT v0 AS value, count() AS amount
        FROM {child}
        WHERE {filled}
        GROUP BY value
        ORDER BY cityHash64(value)
        LIMIT {most}
    )
) AS wanted
SELECT
    count() AS values,
    countIf(known) AS known_values,
    sum(amount) AS all_rows,
    sumIf(amount, known) AS known_rows
FROM (
    SELECT pair.2 AS amount, pair.1 IN (SELECT v0 FROM {parent} WHERE v0 IN (SELECT arrayJoin(wanted).1)) AS known
    FROM (SELECT arrayJoin(wanted) AS pair)
)
