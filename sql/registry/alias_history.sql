-- grain: one assignment of an alias, with the moment from which the next one of that alias counts; the newest first
-- parameters: pipeline, alias (an empty one means every alias), at (microseconds since 1970, UTC; negative means every moment)
-- until: 0 where the assignment counts still. model_version: '' where the alias names nothing from then on.
-- An insert that was repeated may have written an assignment twice; it counts once. Of two at the very same moment, which no lock kept
-- apart, the one with the later version counts, for every reader alike.
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
