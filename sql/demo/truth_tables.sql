-- grain: a table per kind of latent truth; their existence marks a database as a demo
CREATE TABLE IF NOT EXISTS demo_truth
(
    company_id String,
    brand_id String,
    user_id String,
    person UInt64 COMMENT 'number of the person; readers of two brands have two rows',
    key UInt64 COMMENT 'hash from which everything random about this row comes',
    brand UInt8 COMMENT 'number of the brand',
    account_id String,
    loyalty Float32 COMMENT 'standard normal; drives visits, engagement, segment and tier',
    interest Float32 COMMENT 'standard normal; drives visits, pages and diversity',
    price_sensitivity Float32 COMMENT 'standard normal; drives tier and conversion',
    topic UInt8 COMMENT 'number of the favourite topic',
    second_topic UInt8,
    weekend_reader UInt8,
    intensity Float64 COMMENT 'a day of weight w has a visit with probability 1 - exp(-intensity * w)',
    repeat_rate Float32 COMMENT 'probability of a second session on a day with a visit',
    joined Date COMMENT 'no visit before this day',
    initial_tier LowCardinality(String),
    paid_tier LowCardinality(String) COMMENT 'tier after conversion',
    conversion_hazard Float64 COMMENT 'probability of converting within n days, while free: 1 - exp(-hazard * n)',
    converted_on Date COMMENT '1970-01-01: not before the last date',
    segment LowCardinality(String),
    device UInt8,
    os UInt8,
    browser UInt8,
    country UInt8,
    city UInt8
)
ENGINE = MergeTree ORDER BY (company_id, brand_id, user_id);

CREATE TABLE IF NOT EXISTS demo_days
(
    day Date,
    weight Float64 COMMENT 'weight of the day for a weekday reader',
    weekend_weight Float64 COMMENT 'weight of the day for a weekend reader',
    drifted UInt8 COMMENT '1 from the day on which the drift begins'
)
ENGINE = MergeTree ORDER BY day;

CREATE TABLE IF NOT EXISTS demo_articles
(
    article_id String,
    brand UInt8,
    day Date,
    slot UInt8,
    topic UInt8,
    quality Float32 COMMENT 'standard normal; drives clicks'
)
ENGINE = MergeTree ORDER BY (brand, day, slot);

CREATE TABLE IF NOT EXISTS demo_arms
(
    device UInt8,
    device_type_id String,
    arm LowCardinality(String),
    propensity Float64 COMMENT 'probability with which the arm is shown on this device',
    click_rate Float64 COMMENT 'probability of a click when shown',
    revenue_per_click Float64,
    revenue_per_impression Float64 COMMENT 'click_rate * revenue_per_click: what the best arm maximises'
)
ENGINE = MergeTree ORDER BY (device, arm);

CREATE TABLE IF NOT EXISTS demo_settings
(
    setting String,
    value String
)
ENGINE = MergeTree ORDER BY setting;
