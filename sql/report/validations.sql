-- grain: one validated run; the predictions of other tools are left out
-- parameters: first Date
SELECT metadata
FROM ml_model_monitoring
WHERE JSONExtractString(metadata, 'kind') = 'validation' AND JSONExtractString(metadata, 'validates') != '' AND monitoring_date >= {first:Date}
ORDER BY monitoring_date, created_at
