-- grain: one version of a model, the newest first
-- parameters: pipeline String ('' for every pipeline)
SELECT
    model_code,
    model_version,
    model_id,
    model_status,
    model_storage_url,
    metadata,
    evaluation_dataset_metrics,
    is_active,
    is_latest_version,
    toUnixTimestamp(created_at) AS created,
    toUnixTimestamp(updated_at) AS updated,
    has(tags, 'provisional') AS is_provisional
FROM ml_model_registry FINAL
WHERE {pipeline:String} = '' OR model_code = {pipeline:String}
ORDER BY created DESC, model_code ASC, model_version DESC;
