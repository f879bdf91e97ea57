-- grain: one run that is at work or was updated lately, in the order of their starts
-- parameters: since DateTime64(6) (older runs that have ended are left out)
-- units: first and last are seconds since 1970: the start of the first finished slice, and the end of the last
SELECT
    run.pipeline AS pipeline,
    run.date AS date,
    run.run_id AS run_id,
    run.status AS status,
    run.slices AS slices,
    run.source_rows AS source_rows,
    run.rows_published AS rows_published,
    run.started_at AS started_at,
    run.updated_at AS updated_at,
    run.published_at AS published_at,
    run.error AS error,
    slice.done AS done,
    slice.read AS read,
    slice.first AS first
FROM
(
    SELECT *
    FROM raypipe_runs FINAL
    WHERE status IN ('RUNNING', 'STAGED', 'PUBLISHING') OR (updated_at >= {since:DateTime64(6)} AND status != 'SUPERSEDED')
) AS run
LEFT JOIN
(
    SELECT run_id, count() AS done, sum(rows_read) AS read, min(JSONExtractFloat(receipt, 'started_at')) AS first
    FROM raypipe_slices FINAL
    WHERE run_id IN (SELECT run_id FROM raypipe_runs WHERE status IN ('RUNNING', 'STAGED', 'PUBLISHING') OR updated_at >= {since:DateTime64(6)})
    GROUP BY run_id
) AS slice ON slice.run_id = run.run_id
ORDER BY started_at, pipeline
