-- grain: one row, for a column that refers to another table
-- placeholders: child (a relation with the reference as v0), parent (a relation with the key as v0), filled (a predicate on v0), most (a number)
-- units: values counts different values, at most {most}, chosen by hash; rows counts the child's rows with these values
-- The parent is read once and not kept in memory; only the values to look up are. They are a scalar, computed once: a
-- child that is read by its first rows might return others the second time.
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
