-- grain: a date of a pipeline on which a rollback restores rows
-- parameters: pipeline String, outgoing String (the version to withdraw), restored String (the version to restore)
-- For each date the run with the present rows counts: published, or swapped in by a run that died before its commit. A date belongs
-- here if that run belongs to the outgoing version, or is an unfinished run of the restored version; and if the restored
-- version had published it before, or the date is the pipeline's newest.
-- restores: the restored version's last published run of the date with its population, '' if there is none.
-- unfinished: a run of the restored version whose process died, which the rollback continues; '' if there is none.
SELECT date, restores.1 AS run_id, restores.2 AS source_rows, restores.3 AS source_checksum, unfinished
FROM
(
    SELECT
        date,
        argMaxIf(tuple(model_version, status), tuple(sequence, run_id), stands) AS current,
        argMaxIf(
            tuple(run_id, source_rows, source_checksum),
            tuple(sequence, run_id),
            model_version = {restored:String} AND was_published
        ) AS restores,
        argMaxIf(
            run_id, sequence, model_version = {restored:String} AND status IN ('RUNNING', 'STAGED', 'PUBLISHING')
        ) AS unfinished,
        countIf(stands AND model_version = {outgoing:String}) AS of_outgoing,
        max(if(countIf(stands) > 0, date, toDate(0))) OVER () AS newest
    FROM
    (
        SELECT
            *,
            toUnixTimestamp64Micro(published_at) > 0 AS was_published,
            status = 'PUBLISHED' OR (status != 'SUPERSEDED' AND (status = 'PUBLISHING' OR replaces = 1)) AS stands
        FROM raypipe_runs FINAL
        WHERE pipeline = {pipeline:String}
    )
    GROUP BY date
)
WHERE (current.1 = {outgoing:String} OR (of_outgoing > 0 AND current.1 = {restored:String} AND current.2 != 'PUBLISHED'))
    AND (restores.1 != '' OR date = newest)
ORDER BY date
