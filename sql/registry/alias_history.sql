-- grain: one assignment of an alias, with the moment of the alias's next assignment; the newest first
-- parameters: pipeline String, alias String ('' for every alias), at Int64 (microseconds since 1970, UTC; negative for every moment)
-- until: 0 if the assignment still counts. model_version: '' if the alias names no version from then on.
-- A repeated insert may have written an assignment twice; it counts once. Among assignments at the same moment, which no lock
-- prevented, the assignment with the later version counts, for every reader.
SELECT alias, model_id, model_version, set_by, reason, since, until
FROM
(
    SELECT
        *,
        leadInFrame(since) OVER (PARTITION BY alias ORDER BY since ASC, model_version ASC ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS until
    FROM
    (
        SELECT DISTINCT alias, model_id, model_version, set_by, reason, toUnixTimestamp64Micro(set_at) AS since
        FROM raypipe_aliases
        WHERE pipeline = {pipeline:String} AND ({alias:String} = '' OR alias = {alias:String})
    )
)
WHERE {at:Int64} < 0 OR (since <= {at:Int64} AND (until = 0 OR {at:Int64} < until))
ORDER BY since DESC, alias ASC, model_version DESC
