-- grain: one model, rule or champion of the newest comparison, the best first
-- parameters: pipeline String (the comparison, such as baselines)
-- units: seconds of wall time; difference in the deciding metric; positive is better than the champion
-- missing: NULL for a metric that does not apply to the label's kind, and for a failed fit; auc_low to auc_high and the like are 95 % intervals
SELECT
    of,
    test_date,
    position,
    JSONExtractString(model, 'name') AS name,
    JSONExtractString(model, 'kind') AS kind,
    JSONExtractString(model, 'version') AS version,
    JSONExtract(model, 'metrics', 'auc', 'value', 'Nullable(Float64)') AS auc,
    JSONExtract(model, 'metrics', 'auc', 'low', 'Nullable(Float64)') AS auc_low,
    JSONExtract(model, 'metrics', 'auc', 'high', 'Nullable(Float64)') AS auc_high,
    JSONExtract(model, 'metrics', 'log_loss', 'value', 'Nullable(Float64)') AS log_loss,
    JSONExtract(model, 'metrics', 'brier', 'value', 'Nullable(Float64)') AS brier,
    JSONExtract(model, 'metrics', 'rmse', 'value', 'Nullable(Float64)') AS rmse,
    JSONExtract(model, 'metrics', 'rmse', 'low', 'Nullable(Float64)') AS rmse_low,
    JSONExtract(model, 'metrics', 'rmse', 'high', 'Nullable(Float64)') AS rmse_high,
    JSONExtract(model, 'seconds', 'Nullable(Float64)') AS seconds,
    metric,
    JSONExtract(model, 'difference', 'value', 'Nullable(Float64)') AS difference,
    JSONExtract(model, 'difference', 'low', 'Nullable(Float64)') AS difference_low,
    JSONExtract(model, 'difference', 'high', 'Nullable(Float64)') AS difference_high,
    JSONExtractString(model, 'error') AS error
FROM
(
    SELECT
        JSONExtractString(test_metrics, 'of') AS of,
        JSONExtractString(test_metrics, 'metric') AS metric,
        toDate(JSONExtractString(test_metrics, 'test_date')) AS test_date,
        JSONExtractArrayRaw(test_metrics, 'models') AS models
    FROM ml_model_training_runs FINAL
    WHERE run_type = 'comparison' AND run_status = 'COMPLETED' AND startsWith(run_id, concat({pipeline:String}, '_comparison_'))
    ORDER BY started_at DESC
    LIMIT 1
)
ARRAY JOIN models AS model, arrayEnumerate(models) AS position
ORDER BY position
