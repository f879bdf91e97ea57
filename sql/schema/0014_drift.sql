-- The histograms of nights, their comparisons, and the checks of their inputs.
--
-- Rows of a run are written before its predictions are published. The views show those of committed runs alone, so that a
-- date has the rows of one run, at any time.

-- grain: one run, and one column over all rows or over the rows with one value of a slice column
CREATE TABLE IF NOT EXISTS raypipe_histograms
(
    pipeline LowCardinality(String),
    date Date,
    run_id String,
    model_id LowCardinality(String),
    model_version LowCardinality(String),
    column LowCardinality(String) COMMENT 'a column of the feature matrix, or score',
    slice_column LowCardinality(String) COMMENT 'empty for all rows',
    slice_value String,
    rows UInt64 COMMENT 'counted rows: of the features a sample, of the score all rows',
    counts Array(UInt64) COMMENT 'rows per bin, missing values last' CODEC(ZSTD(3)),
    edges Array(Float32) COMMENT 'inner edges of the bins, ascending' CODEC(ZSTD(3)),
    means Array(Float32) COMMENT 'mean of the values of the fit in each bin' CODEC(ZSTD(3)),
    wide Array(UInt16) COMMENT 'positions of the edges between the bins of the population stability index' CODEC(ZSTD(3)),
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (pipeline, date, run_id, column, slice_column, slice_value);

-- grain: one run, one reference, and one column over all rows or over the rows with one value of a slice column
CREATE TABLE IF NOT EXISTS raypipe_drift_rows
(
    pipeline LowCardinality(String),
    date Date,
    run_id String,
    model_id LowCardinality(String),
    model_version LowCardinality(String),
    reference LowCardinality(String) COMMENT 'night: the last accepted night; weekday: the accepted night a week before; fit',
    reference_date Nullable(Date) COMMENT 'for the fit the middle of its dates',
    reference_run_id String,
    column LowCardinality(String) COMMENT 'a column of the feature matrix, or score',
    feature LowCardinality(String) COMMENT 'the feature of the column, or score',
    slice_column LowCardinality(String) COMMENT 'empty for all rows',
    slice_value String,
    rows UInt64,
    reference_rows UInt64,
    psi Nullable(Float64) COMMENT 'population stability index in the wide bins',
    psi_noise Nullable(Float64) COMMENT 'the index that chance alone gives on average',
    js Nullable(Float64) COMMENT 'Jensen-Shannon distance, base 2, in the wide bins',
    ks Nullable(Float64) COMMENT 'Kolmogorov-Smirnov statistic of the known values',
    ks_error Nullable(Float64) COMMENT 'the true statistic may be greater by so much',
    wasserstein Nullable(Float64) COMMENT 'Wasserstein-1 distance of the known values, in the unit of the column',
    missing Nullable(Float64) COMMENT 'share of rows without a value',
    reference_missing Nullable(Float64),
    unseen Nullable(Float64) COMMENT 'share of values that the fit did not have: outside its range, or unknown categories',
    reference_unseen Nullable(Float64),
    status LowCardinality(String) COMMENT 'ok, warning, alert or not_compared',
    reason String COMMENT 'in words',
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (pipeline, date, run_id, reference, column, slice_column, slice_value);

-- grain: one pipeline, date, reference, and one column over all rows or over the rows with one value of a slice column
CREATE VIEW IF NOT EXISTS raypipe_drift
AS SELECT *
FROM raypipe_drift_rows FINAL
WHERE (pipeline, date, run_id) IN
    (
        SELECT pipeline, date, argMax(run_id, sequence)
        FROM raypipe_runs FINAL
        WHERE status = 'PUBLISHED'
        GROUP BY pipeline, date
    );

-- grain: one planned run and one expectation of its pipeline
CREATE TABLE IF NOT EXISTS raypipe_checks
(
    pipeline LowCardinality(String),
    date Date,
    run_id String COMMENT 'a refused plan has no row in raypipe_runs',
    check LowCardinality(String) COMMENT 'freshness, volume, missing, zeros, range, allowed or unique',
    column String COMMENT 'empty for all columns',
    found String,
    allowed String,
    status LowCardinality(String) COMMENT 'ok, warning, refused or not_checked',
    reason String COMMENT 'in words',
    checked_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(checked_at)
ORDER BY (pipeline, date, run_id, check, column);
