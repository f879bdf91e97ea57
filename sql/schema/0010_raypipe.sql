-- raypipe's own tables: the ledger of runs, their rejected rows, and the aliases of models.
--
-- All times are UTC with microseconds. The ReplacingMergeTree tables keep every state of a row until parts are merged: read
-- them FINAL. Nothing here expires: rows are small, and the ledger is the record of everything published.

-- grain: one run of a pipeline; the row with status PUBLISHED is the commit point of the run
CREATE TABLE IF NOT EXISTS raypipe_runs
(
    run_id String,
    pipeline LowCardinality(String),
    date Date,
    model_id String,
    model_version String,
    artifact_sha256 String,
    contract_sha256 String,
    sql_sha256 String,
    status LowCardinality(String) COMMENT 'RUNNING, STAGED, PUBLISHING, PUBLISHED, REFUSED, FAILED, INTERRUPTED or SUPERSEDED',
    manifest String COMMENT 'JSON: the slices and the settings, frozen before any work' CODEC(ZSTD(3)),
    source_rows UInt64,
    source_checksum UInt64 COMMENT 'order-free checksum of the source keys',
    slices UInt32,
    rows_read UInt64,
    rows_published UInt64,
    rows_rejected UInt64,
    sequence UInt64 COMMENT 'place in the order of the runs of a pipeline: the epoch of the lock in its latest attempt',
    version UInt64 COMMENT 'which row of a run counts: the epoch of the lock of its writer, shifted by 20 bits, plus the step of the writer',
    previous String COMMENT 'JSON: the table that holds the rows of the committed run of the date, by target, while this run is swapped in',
    published String COMMENT 'JSON: partition and number of rows by target, written with the commit',
    owner String COMMENT 'host and process that runs it',
    error String,
    timings String COMMENT 'JSON: seconds of each stage',
    started_at DateTime64(6, 'UTC') DEFAULT now64(6),
    published_at DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC'),
    updated_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (pipeline, run_id);

-- grain: one completed slice of a run
CREATE TABLE IF NOT EXISTS raypipe_slices
(
    run_id String,
    slice UInt32,
    rows_read UInt64,
    rows_scored UInt64,
    rows_rejected UInt64,
    checksum UInt64 COMMENT 'order-free checksum of the staged keys',
    chunks UInt32,
    receipt String COMMENT 'JSON: times and histograms' CODEC(ZSTD(3)),
    completed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(completed_at)
ORDER BY (run_id, slice);

-- grain: one row without a prediction in an attempt at a slice; raypipe_counted_rejections selects the attempts that count
CREATE TABLE IF NOT EXISTS raypipe_rejected_rows
(
    run_id String,
    slice UInt32,
    attempt UInt64,
    row UInt64 COMMENT 'its place among the rows that the attempt read',
    entity String COMMENT 'JSON of the entity key',
    reason LowCardinality(String),
    value String,
    rejected_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(rejected_at)
ORDER BY (run_id, slice, attempt, row);

-- grain: one change of an alias such as champion; the latest row by set_at counts, earlier rows are its history
CREATE TABLE IF NOT EXISTS raypipe_aliases
(
    pipeline LowCardinality(String),
    alias LowCardinality(String),
    model_id String,
    model_version String,
    set_by String,
    reason String,
    set_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (pipeline, alias, set_at);

-- grain: one row of a slice without a prediction, as raypipe_runs.rows_rejected counts them
-- attempts: a failed attempt, or an actor that seemed dead, may have rejected rows as well; the receipt names the attempt that counts
CREATE VIEW IF NOT EXISTS raypipe_counted_rejections
AS SELECT run_id, slice, row, entity, reason, value, rejected_at
FROM raypipe_rejected_rows FINAL
WHERE (run_id, slice, attempt) IN
    (
        SELECT run_id, slice, JSONExtractUInt(receipt, 'attempt')
        FROM raypipe_slices FINAL
    );
