-- grain: (arm, crossed, complete), the moments of the units of an arm that lack the same values
-- parameters: arms Array(String), and the parameters of rows.sql and scores.sql
-- placeholders: units (units.sql or single_units.sql), join (scores.sql, or nothing), complete, moments (expressions)
-- arm: '' for units in several arms (crossed) and for an arm that is not declared
-- complete: per metric 0 without a value, 1 without a covariate, 2 with both
-- moments: per metric the means of its variables, their covariances (population, upper triangle by row), and the number of values other than 0 and 1
SELECT
    raypipe_first = raypipe_last AND has({arms:Array(String)}, raypipe_first) ? raypipe_first : '' AS arm,
    raypipe_first != raypipe_last AS crossed,
    {complete} AS complete,
    count() AS units,
    min(raypipe_since) AS first_day,
    max(raypipe_since) AS last_day,
    {moments}
FROM
(
{units}
) AS raypipe_units
{join}
GROUP BY arm, crossed, complete
