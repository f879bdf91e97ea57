-- The artifacts of model versions, where `artifacts: clickhouse` is configured. Written once and verified on read.

-- grain: one chunk of a file of an artifact; `raypipe models prune` deletes artifacts with their versions
-- identity: the files follow from the hash, so a second upload only replaces rows by equal rows. A row of the registry makes an artifact visible
-- partitions: by the first two digits of the hash, so that a deletion rewrites few other artifacts
CREATE TABLE IF NOT EXISTS raypipe_artifacts
(
    artifact_sha256 String COMMENT 'of manifest.json, which lists the SHA-256 and the size of each other file',
    file String,
    chunk UInt32 COMMENT 'its place in the file, from 0 on',
    size UInt32 COMMENT 'bytes of the chunk',
    bytes String CODEC(ZSTD(1)),
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(written_at)
PARTITION BY substring(artifact_sha256, 1, 2)
ORDER BY (artifact_sha256, file, chunk);
