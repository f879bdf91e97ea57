-- grain: unit with an exposure, out of a table with one row per unit
-- placeholders: as in units.sql
SELECT
    {keys},
    {first} AS raypipe_first,
    {last} AS raypipe_last,
    raypipe_day AS raypipe_since,
    {values}
FROM
(
{rows}
)
WHERE raypipe_arm != ''
