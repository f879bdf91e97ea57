-- grain: the assignment of an alias that counted at a moment
-- parameters: pipeline, alias, at (microseconds since 1970, UTC)
SELECT model_id, model_version, set_by, reason, toUnixTimestamp64Micro(set_at) AS at
FROM raypipe_aliases
WHERE pipeline = {pipeline:String} AND alias = {alias:String} AND toUnixTimestamp64Micro(set_at) <= {at:Int64}
ORDER BY set_at DESC
LIMIT 1;
