-- grain: the version whose artifact goes
-- parameters: pipeline String, version String, metadata String (JSON with pruned_at), at UInt32 (seconds since 1970)
-- The mark precedes the removal, so that readers see it meanwhile, and the next pruning completes an interrupted removal.
INSERT INTO ml_model_registry
SELECT * REPLACE (
    {metadata:String} AS metadata,
    if(model_status = 'FAILED', model_status, 'ARCHIVED') AS model_status,
    toUInt8(0) AS is_active,
    greatest(updated_at + 1, toDateTime({at:UInt32})) AS updated_at
)
FROM
(
    SELECT *
    FROM ml_model_registry FINAL
    WHERE model_code = {pipeline:String} AND model_version = {version:String}
);
