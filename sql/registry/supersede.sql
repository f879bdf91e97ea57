-- grain: every other version of the pipeline that is still marked as the latest
-- parameters: pipeline String, version String, at UInt32 (seconds since 1970)
INSERT INTO ml_model_registry
SELECT * REPLACE (
    toUInt8(0) AS is_latest_version,
    greatest(updated_at + 1, toDateTime({at:UInt32})) AS updated_at
)
FROM
(
    SELECT *
    FROM ml_model_registry FINAL
    WHERE model_code = {pipeline:String} AND model_version != {version:String} AND is_latest_version = 1
);
