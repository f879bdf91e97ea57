-- grain: session_id, the number of the row in the file
-- parameters: none
-- units: durations in seconds, rates as shares, page_value in dollars
CREATE TABLE shopper_sessions
(
    session_id UInt32,
    administrative_pages Nullable(UInt16),
    administrative_seconds Nullable(Float64),
    informational_pages Nullable(UInt16),
    informational_seconds Nullable(Float64),
    product_pages Nullable(UInt16),
    product_seconds Nullable(Float64),
    bounce_rate Nullable(Float64),
    exit_rate Nullable(Float64),
    page_value Float64,
    special_day Float64,
    month LowCardinality(String),
    operating_system LowCardinality(String),
    browser LowCardinality(String),
    region LowCardinality(String),
    traffic_type LowCardinality(String),
    returning_visitor UInt8,
    weekend UInt8,
    revenue UInt8
)
ENGINE = MergeTree
ORDER BY session_id
