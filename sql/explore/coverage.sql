-- grain: one row for a column that refers to another table's
-- placeholders: child (a relation with the reference as v0), parent (one with the key as v0), filled (a predicate on v0), most (a number)
-- units: values are different ones, at most {most} of them, chosen by their hash; rows are the child's that have these values
-- The parent is read once and never held: only the values looked up are.
WITH wanted AS (
    SELECT v0 AS value, count() AS amount
    FROM {child}
    WHERE {filled}
    GROUP BY value
    ORDER BY cityHash64(value)
    LIMIT {most}
)
SELECT
    count() AS values,
    countIf(known) AS known_values,
    sum(amount) AS all_rows,
    sumIf(amount, known) AS known_rows
FROM (
    SELECT amount, value IN (SELECT v0 FROM {parent} WHERE v0 IN (SELECT value FROM wanted)) AS known
    FROM wanted
)
