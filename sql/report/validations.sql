-- grain: one validated batch of predictions
-- parameters: first Date
SELECT metadata
FROM ml_model_monitoring
WHERE JSONExtractString(metadata, 'kind') = 'validation' AND monitoring_date >= {first:Date}
ORDER BY monitoring_date, created_at
