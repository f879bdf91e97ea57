-- grain: unit with an exposure, out of a table with several rows per unit
-- placeholders: rows (rows.sql), keys, values (per metric: its value, its denominator and its covariate, NULL where missing), first, last (the arm of its exposures)
-- raypipe_first, raypipe_last: two names where the unit was in several arms
SELECT
    {keys},
    {first} AS raypipe_first,
    {last} AS raypipe_last,
    minIf(raypipe_day, raypipe_inside AND raypipe_arm != '') AS raypipe_since,
    {values}
FROM
(
{rows}
)
GROUP BY {keys}
HAVING countIf(raypipe_inside AND raypipe_arm != '') > 0
