-- The log of `raypipe assign`.

-- grain: one exposure of a unit; rows are only added, and the earliest counts
CREATE TABLE IF NOT EXISTS raypipe_exposures
(
    experiment LowCardinality(String),
    unit Array(String) COMMENT 'values of the columns that name the unit, as text',
    arm LowCardinality(String),
    salt LowCardinality(String),
    shares LowCardinality(String) COMMENT 'JSON: share by arm, in the order of the config',
    exposed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (experiment, unit, exposed_at);
