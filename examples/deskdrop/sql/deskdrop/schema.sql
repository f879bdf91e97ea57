-- grain: one event of a reader and an article
-- parameters: none
-- units: at in seconds since 1970
CREATE TABLE deskdrop_interactions
(
    reader_id String,
    article_id String,
    event_type LowCardinality(String),
    at Int64
)
ENGINE = MergeTree
ORDER BY (reader_id, at)
