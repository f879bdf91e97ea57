-- The performance of predictions by date and slice, and the alerts of nights.

-- grain: one metric of the predictions of a date by a run or another tool's version, for all of them or for a slice; a later run of the date
--     replaces its rows
-- units: of the metric; brier, ece and the shares from 0 to 1, losses in nats
CREATE TABLE IF NOT EXISTS raypipe_performance
(
    pipeline LowCardinality(String),
    date Date COMMENT 'of the predictions',
    kind LowCardinality(String) COMMENT 'measured: from the outcomes; estimated: from the scores, before there are outcomes',
    run_id String COMMENT 'empty for predictions of another tool',
    model_version String,
    slice_column LowCardinality(String) COMMENT 'empty for all predictions',
    slice_value String,
    metric LowCardinality(String),
    value Nullable(Float64),
    low Nullable(Float64) COMMENT 'of the interval of 95 %',
    high Nullable(Float64),
    rows UInt64 COMMENT 'predictions that count',
    positives Nullable(UInt64) COMMENT 'outcomes that are 1',
    reason String COMMENT 'why there is no value',
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (pipeline, date, kind, run_id, slice_column, slice_value, metric);

-- grain: one episode of an alert, from its first date beyond the limit to its end; read FINAL
CREATE TABLE IF NOT EXISTS raypipe_alerts
(
    alert_id String,
    rule LowCardinality(String) COMMENT 'its name in the section alerts of the configuration',
    pipeline LowCardinality(String),
    metric LowCardinality(String),
    subject String COMMENT 'a feature; empty where the metric has no subject',
    slice_column LowCardinality(String) COMMENT 'empty for all rows',
    slice_value String,
    severity LowCardinality(String) COMMENT 'warning or critical',
    status LowCardinality(String) COMMENT 'pending: too few nights yet; open; resolved; passed: never opened',
    value Float64 COMMENT 'the latest value',
    message String,
    dates Array(Date) COMMENT 'dates beyond the limit, in order',
    opened_at DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC'),
    resolved_at DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC'),
    sent String COMMENT 'JSON: the status that each receiver has got',
    updated_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY alert_id;
