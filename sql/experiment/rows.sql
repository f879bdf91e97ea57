-- grain: row of the experiment's table that lies in the exposure's days or in the period before
-- parameters: since Date, until Date (the day after the last), before_since Date, before_until Date (the day after the last), timezone String (of these days); a salt adds the parameters of assign.sql
-- placeholders: keys, arm, day, inside, earlier (expressions), values (one Float64 per metric's expression), source (the table or a SELECT), where (a condition)
-- raypipe_inside: whether the row lies in the exposure's days; the others lie in the period before
SELECT
    {keys},
    {arm} AS raypipe_arm,
    {day} AS raypipe_day,
    {inside} AS raypipe_inside,
    {values}
FROM {source}
WHERE ({where}) AND (raypipe_inside OR {earlier})
