-- grain: the last completed run of a kind, with the seconds of its fit
-- parameters: model_id String (the version of the run), kind String (run_type)
-- units: seconds of wall time, 0 if the run made no version
SELECT
    run_id,
    hyperparameters,
    training_dataset_path,
    validation_dataset_path,
    test_dataset_path,
    training_dataset_size,
    validation_dataset_size,
    test_dataset_size,
    test_metrics,
    (SELECT max(training_duration_sec) FROM ml_model_registry WHERE model_id = {model_id:String}) AS seconds
FROM ml_model_training_runs FINAL
WHERE model_id = {model_id:String} AND run_type = {kind:String} AND run_status = 'COMPLETED'
ORDER BY started_at DESC
LIMIT 1
