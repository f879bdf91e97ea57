-- grain: a date of a pipeline on which a rollback has something to put back
-- parameters: pipeline, outgoing (the version that goes), restored (the version that comes back)
-- Of each date the run counts whose rows stand: published, or swapped in by a run that died before its commit. A date belongs
-- here when that run is one of the outgoing version, or an unfinished one of the restored version; and when the restored
-- version had published it before, or the date is the pipeline's newest.
-- restores: the restored version's last published run of the date, '' where there is none; with its population.
-- unfinished: a run of the restored version whose process died, '' where there is none: the rollback goes on with it.
SELECT date, restores.1 AS run_id, restores.2 AS source_rows, restores.3 AS source_checksum, unfinished
FROM
(
    SELECT
        date,
        argMaxIf(tuple(model_version, status), tuple(stood_at, run_id), stands) AS current,
        argMaxIf(
            tuple(run_id, source_rows, source_checksum),
            tuple(published_at, run_id),
            model_version = {restored:String} AND was_published
        ) AS restores,
        argMaxIf(
            run_id, started_at, model_version = {restored:String} AND status IN ('RUNNING', 'STAGED', 'PUBLISHING')
        ) AS unfinished,
        countIf(stands AND model_version = {outgoing:String}) AS of_outgoing,
        max(if(countIf(stands) > 0, date, toDate(0))) OVER () AS newest
    FROM
    (
        SELECT
            *,
            toUnixTimestamp64Micro(published_at) > 0 AS was_published,
            status = 'PUBLISHED' OR (status != 'SUPERSEDED' AND (status = 'PUBLISHING' OR replaces = 1)) AS stands,
            if(status = 'PUBLISHED', published_at, updated_at) AS stood_at
        FROM raypipe_runs FINAL
        WHERE pipeline = {pipeline:String}
    )
    GROUP BY date
)
WHERE (current.1 = {outgoing:String} OR (of_outgoing > 0 AND current.1 = {restored:String} AND current.2 != 'PUBLISHED'))
    AND (restores.1 != '' OR date = newest)
ORDER BY date
