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
    interest Float32 COMMENT 'standard normal; drives visits, length, pages, and how much the quality of articles counts',
    price_sensitivity Float32 COMMENT 'standard normal; drives searches, tier and conversion',
    newsletter_reader UInt8 COMMENT 'signs up for newsletters; converts if minding the price, and rarely otherwise',
    topic UInt8 COMMENT 'number of the favourite topic',
    second_topic UInt8 COMMENT 'number of the topic of the weekends',
    favourite_author UInt8 COMMENT 'number of an author of the brand',
    weekend_reader UInt8,
    turn_every UInt8 COMMENT 'days from turn to turn; a reader who pays stays away after a turn, see visits.sql',
    turn_shift UInt8 COMMENT 'a turn is on the days d since 1970 with (d + turn_shift) % turn_every = 0',
    intensity Float64 COMMENT 'expected visits of an average day, before topic, season and turns; see visits.sql',
    repeat_rate Float32 COMMENT 'probability of a second session on a day with a visit',
    joined Date COMMENT 'no visit before this day',
    initial_tier LowCardinality(String),
    paid_tier LowCardinality(String) COMMENT 'tier after conversion',
    conversion_hazard Float64 COMMENT 'hazard of converting on a day while free, at an average level of the topic; see readers.sql',
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
    topic UInt8,
    author UInt8 COMMENT 'number of an author of the brand',
    type UInt8 COMMENT '0 news, 1 analysis, 2 video, 3 feature',
    quality Float32 COMMENT 'standard normal; drives clicks, engagement and scroll depth'
)
ENGINE = MergeTree ORDER BY (brand, day, topic);

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
