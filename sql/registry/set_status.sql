-- grain: the model whose status changes and, if it goes into production, the model that it replaces
-- parameters: pipeline String, version String, status String, deployed_by String, at UInt32 (seconds since 1970), provisional Int8
-- provisional: 1 and 0 set and remove the version's tag `provisional`, -1 leaves its tags
-- A single insert, so that no reader sees two models in production. updated_at has a resolution of a second and decides
-- which row wins, so it always increases.
INSERT INTO ml_model_registry
SELECT * REPLACE (
    if(model_version = {version:String}, {status:String}, 'ARCHIVED') AS model_status,
    toUInt8(model_version = {version:String} AND {status:String} = 'PRODUCTION') AS is_active,
    if(model_version = {version:String} AND {status:String} = 'PRODUCTION', toDateTime({at:UInt32}), deployed_at) AS deployed_at,
    if(model_version = {version:String} AND {status:String} = 'PRODUCTION', {deployed_by:String}, deployed_by) AS deployed_by,
    if(
        model_version = {version:String} AND {provisional:Int8} >= 0,
        arrayConcat(arrayFilter(tag -> tag != 'provisional', tags), if({provisional:Int8} = 1, ['provisional'], [])),
        tags
    ) AS tags,
    greatest(updated_at + 1, toDateTime({at:UInt32})) AS updated_at
)
FROM
(
    SELECT *
    FROM ml_model_registry FINAL
    WHERE model_code = {pipeline:String}
        AND (model_version = {version:String} OR ({status:String} = 'PRODUCTION' AND model_status = 'PRODUCTION'))
);
