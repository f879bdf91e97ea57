-- grain: unit that the experiment has not exposed yet
-- parameters: experiment String, salt String, shares String, exposed_at DateTime64(6, 'UTC')
-- placeholders: unit, arm (expressions), exposures (the table on all shards), source (the table or a SELECT), where (a condition)
SELECT
    {experiment:String} AS experiment,
    raypipe_unit AS unit,
    raypipe_arm AS arm,
    {salt:String} AS salt,
    {shares:String} AS shares,
    {exposed_at:DateTime64(6, 'UTC')} AS exposed_at
FROM
(
    SELECT DISTINCT {unit} AS raypipe_unit, {arm} AS raypipe_arm
    FROM {source}
    WHERE {where}
) AS units
LEFT ANTI JOIN
(
    SELECT unit AS raypipe_unit FROM {exposures} WHERE experiment = {experiment:String}
) AS exposed USING (raypipe_unit)
