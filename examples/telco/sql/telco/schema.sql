-- grain: customer_id
-- parameters: none
-- units: charges in dollars, tenure in months
CREATE TABLE telco_customers
(
    customer_id String,
    gender LowCardinality(String),
    senior_citizen UInt8,
    partner LowCardinality(String),
    dependents LowCardinality(String),
    tenure_months UInt16,
    phone_service LowCardinality(String),
    multiple_lines LowCardinality(String),
    internet_service LowCardinality(String),
    online_security LowCardinality(String),
    online_backup LowCardinality(String),
    device_protection LowCardinality(String),
    tech_support LowCardinality(String),
    streaming_tv LowCardinality(String),
    streaming_movies LowCardinality(String),
    contract LowCardinality(String),
    paperless_billing LowCardinality(String),
    payment_method LowCardinality(String),
    monthly_charges Float64,
    total_charges Nullable(Float64) COMMENT 'NULL before the first bill',
    churn LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY customer_id
