-- grain: one row, for a key of a table
-- placeholders: source (a relation), keys (its columns, comma-separated), one_in (a number)
-- units: keys counts different keys; every {one_in}th is examined with all its rows
SELECT count() AS keys, countIf(amount > 1) AS repeated, sum(amount) AS all_rows
FROM (
    SELECT count() AS amount
    FROM {source}
    WHERE {one_in} = 1 OR cityHash64({keys}) % {one_in} = 0
    GROUP BY {keys}
)
