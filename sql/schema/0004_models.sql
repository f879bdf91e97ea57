-- Models: the registry, features, fits, predictions, monitoring and tests.
--
-- ml_model_predictions is partitioned by (prediction_type, prediction_date), the constants of a run, so that REPLACE
-- PARTITION swaps a whole run in one step and readers never see a mixture. A prediction type has 730 partitions under
-- the TTL of two years. ml_model_monitoring gets a few rows per run and is monthly.
--
-- TTL counts from created_at, the time of writing: a row inserted with an old created_at vanishes with the first merge.

-- grain: one version of a model
CREATE TABLE IF NOT EXISTS ml_model_registry
(
    model_id String,
    model_name String,
    model_code String,
    model_version String,
    model_type String,
    domain String,
    algorithm String,
    model_framework String,
    model_format String,
    model_path String,
    model_storage_type String,
    model_storage_url String,
    description String,
    tags Array(String),
    metadata String,
    training_dataset_path String,
    training_dataset_size UInt32,
    training_date DateTime,
    training_duration_sec UInt32,
    training_environment String,
    performance_metrics String,
    feature_importance String,
    evaluation_dataset_metrics String,
    model_status String DEFAULT 'TRAINING',
    is_active UInt8 DEFAULT 1,
    deployed_at DateTime,
    deployed_by String,
    deployment_environment String,
    company_id String,
    brand_id String,
    parent_model_id String,
    is_latest_version UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now(),
    created_by String
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (model_code, model_version);

-- grain: one feature of a model version, by its rank
CREATE TABLE IF NOT EXISTS ml_model_features
(
    feature_id String,
    model_id String,
    feature_name String,
    feature_code String,
    feature_type String,
    feature_data_type String,
    description String,
    is_required UInt8 DEFAULT 1,
    default_value String,
    feature_importance Float64,
    feature_rank UInt16,
    min_value Float64,
    max_value Float64,
    mean_value Float64,
    std_value Float64,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (model_id, feature_rank);

-- grain: one fit of a model, including failed fits
CREATE TABLE IF NOT EXISTS ml_model_training_runs
(
    run_id String,
    model_id String,
    run_name String,
    run_type String,
    run_status String,
    started_at DateTime,
    completed_at DateTime,
    duration_sec UInt32,
    training_dataset_path String,
    training_dataset_size UInt32,
    validation_dataset_path String,
    validation_dataset_size UInt32,
    test_dataset_path String,
    test_dataset_size UInt32,
    hyperparameters String,
    training_metrics String,
    validation_metrics String,
    test_metrics String,
    feature_importance String,
    model_path String,
    model_storage_url String,
    error_message String,
    created_by String,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (model_id, started_at);

-- grain: one prediction of a run; batch_id is the run, prediction_type the pipeline
-- published: a run's partition is replaced
-- sharded: entity_id
CREATE TABLE IF NOT EXISTS ml_model_predictions
(
    prediction_id String,
    model_id String,
    prediction_type String,
    entity_id String,
    entity_type String,
    prediction_value Float64,
    prediction_probability Float32,
    prediction_class String,
    prediction_confidence Float32,
    input_features String CODEC(ZSTD(3)),
    actual_value Float64,
    actual_class String,
    is_correct UInt8,
    predicted_at DateTime DEFAULT now(),
    prediction_date Date,
    actual_observed_at DateTime,
    company_id String,
    brand_id String,
    batch_id String,
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now()
)
ENGINE = MergeTree
PARTITION BY (prediction_type, prediction_date)
ORDER BY (predicted_at, model_id, entity_id, prediction_id)
TTL created_at + toIntervalYear(2);

-- grain: one model, brand and monitored day of a run
CREATE TABLE IF NOT EXISTS ml_model_monitoring
(
    monitoring_id String,
    model_id String,
    monitoring_date Date,
    monitoring_start_time DateTime,
    monitoring_end_time DateTime,
    total_predictions UInt32 DEFAULT 0,
    predictions_per_hour Float32,
    avg_prediction_latency_ms Float32,
    p95_prediction_latency_ms Float32,
    p99_prediction_latency_ms Float32,
    accuracy Float32,
    precision Float32,
    recall Float32,
    f1_score Float32,
    auc_roc Float32,
    data_drift_score Float32,
    feature_drift_scores String CODEC(ZSTD(3)),
    drift_detected UInt8 DEFAULT 0,
    performance_drift_score Float32,
    performance_drift_detected UInt8 DEFAULT 0,
    prediction_distribution String CODEC(ZSTD(3)),
    confidence_distribution String CODEC(ZSTD(3)),
    error_count UInt32 DEFAULT 0,
    error_rate Float32,
    error_types String CODEC(ZSTD(3)),
    alerts_triggered UInt16 DEFAULT 0,
    alert_types String CODEC(ZSTD(3)),
    company_id String,
    brand_id String,
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(monitoring_date)
ORDER BY (monitoring_date, model_id, brand_id)
TTL created_at + toIntervalYear(2);

-- grain: one test of two models
CREATE TABLE IF NOT EXISTS ml_model_ab_tests
(
    test_id String,
    test_name String,
    test_code String,
    model_a_id String,
    model_b_id String,
    traffic_split_a Float32 DEFAULT 0.5,
    traffic_split_b Float32 DEFAULT 0.5,
    test_start_date Date,
    test_end_date Date,
    min_sample_size UInt32,
    test_status String,
    model_a_predictions UInt32 DEFAULT 0,
    model_b_predictions UInt32 DEFAULT 0,
    model_a_accuracy Float32,
    model_b_accuracy Float32,
    model_a_metric Float32,
    model_b_metric Float32,
    statistical_significance Float32,
    confidence_level Float32,
    winning_model_id String,
    winner_determined_at DateTime,
    company_id String,
    brand_id String,
    created_by String,
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (test_id);
