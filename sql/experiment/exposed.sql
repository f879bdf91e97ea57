-- grain: (arm, salt, shares), the exposed units of an experiment
-- parameters: experiment String
-- placeholders: exposures (the table on all shards)
SELECT arm, salt, shares, uniqExact(unit) AS units
FROM {exposures}
WHERE experiment = {experiment:String}
GROUP BY arm, salt, shares
