-- grain: pipeline, what its runs have published in all
-- parameters: pipelines Array(String)
SELECT
    pipeline,
    sumIf(rows_published, status IN ('PUBLISHED', 'SUPERSEDED')) AS published,
    sumIf(rows_rejected, status IN ('PUBLISHED', 'SUPERSEDED')) AS rejected,
    maxIf(published_at, status = 'PUBLISHED') AS published_at,
    maxIf(date, status = 'PUBLISHED') AS date
FROM raypipe_runs FINAL
WHERE pipeline IN {pipelines:Array(String)}
GROUP BY pipeline
HAVING countIf(status IN ('PUBLISHED', 'SUPERSEDED')) > 0
ORDER BY pipeline
