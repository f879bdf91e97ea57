-- grain: a version that must keep its artifact, and what refers to it
-- parameters: none
-- A superseded run has no rows left; every other run may have published, or may yet be resumed.
SELECT pipeline, version, arraySort(groupUniqArray(who)) AS named_by
FROM
(
    SELECT pipeline, argMax(model_version, (set_at, model_version)) AS version, alias AS who
    FROM raypipe_aliases
    GROUP BY pipeline, alias
    UNION ALL
    SELECT pipeline, model_version AS version, concat('run ', max(run_id)) AS who
    FROM raypipe_runs FINAL
    WHERE status != 'SUPERSEDED'
    GROUP BY pipeline, version
)
WHERE version != ''
GROUP BY pipeline, version
