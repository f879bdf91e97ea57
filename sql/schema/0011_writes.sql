-- The ledger of raypipe.ClickHouseSink. The sink creates this table where it is missing.

-- grain: one run of a target; the row with the highest version counts, PUBLISHED once all its rows are in the target
CREATE TABLE IF NOT EXISTS raypipe_writes
(
    write_id String COMMENT 'write_ and a hash of target and run; in the names of lock, staging tables and twin',
    target String,
    run String,
    status LowCardinality(String) COMMENT 'RUNNING, PUBLISHING, PUBLISHED or FAILED',
    twin String COMMENT 'the table from which the rows are moved into the target',
    rows UInt64,
    partitions String COMMENT 'JSON: newest block of the target by partition, before the rows are moved there',
    server_started String COMMENT 'start of the server that was to move the rows, by its own clock, UTC',
    owner String COMMENT 'host and process that writes',
    error String,
    version UInt64 COMMENT 'which row counts: the epoch of the lock of its writer, shifted by 20 bits, plus the step of the writer',
    updated_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (target, run);
