-- The publisher's customers: users, accounts, sessions, events, daily features, and predictions about users.
--
-- Partitions. The tables that raypipe publishes into are partitioned by the run's constants, so that REPLACE PARTITION
-- swaps a whole run in one step: customer_churn_predictions and customer_conversion_predictions by prediction_date,
-- customer_recommendations by the day of created_at (a run writes a single created_at; the day is in UTC, not in the
-- server's zone). customer_user_features is partitioned by feature_date: a day's snapshot is written once, replaced as a
-- whole and read as a whole, so a partition per day costs nothing and a day is replaced in one step; two years are 730
-- partitions. An INSERT may fill at most 100 of them (max_partitions_per_insert_block). The other tables are monthly.
--
-- TTL counts from created_at, the time of writing. A row that is inserted with an old created_at expires at once
-- and vanishes with the first merge, within seconds: leave created_at at its default, also when you write history.
--
-- DateTime columns have no zone: they are in UTC. JSON is stored in Strings.

-- grain: one user, whatever the brands
-- sharded: user_id
CREATE TABLE IF NOT EXISTS users
(
    user_id String,
    user_external_id String,
    email String,
    username String,
    first_name String,
    last_name String,
    display_name String,
    phone_number String,
    date_of_birth Date DEFAULT toDate(0),
    gender String,
    profile_image_url String,
    primary_country_code String,
    primary_language_code String,
    timezone String,
    is_active UInt8 DEFAULT 1,
    is_verified UInt8 DEFAULT 0,
    last_login_at DateTime DEFAULT toDateTime(0),
    metadata String,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now(),
    deleted_at DateTime DEFAULT toDateTime(0)
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (user_id);

-- grain: one account of a user with a brand
-- sharded: user_id
CREATE TABLE IF NOT EXISTS user_accounts
(
    account_id String,
    user_id String,
    company_id String,
    brand_id String,
    account_type String,
    subscription_tier String DEFAULT 'free',
    subscription_status String DEFAULT 'active',
    subscription_start_date Date,
    subscription_end_date Date,
    trial_end_date Date,
    payment_method String,
    billing_country_code String,
    is_active UInt8 DEFAULT 1,
    metadata String,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (account_id);

-- grain: one session of a reader with a brand
-- sharded: user_id
CREATE TABLE IF NOT EXISTS customer_sessions
(
    session_id String,
    user_id String,
    company_id String,
    brand_id String,
    account_id String,
    country_code String,
    city_id String,
    timezone String,
    device_type_id String,
    os_id String,
    browser_id String,
    referrer String,
    user_segment String,
    subscription_tier String,
    session_start DateTime,
    session_end DateTime,
    session_duration_sec UInt32,
    total_events UInt16 DEFAULT 0,
    article_views UInt16 DEFAULT 0,
    article_clicks UInt16 DEFAULT 0,
    video_plays UInt16 DEFAULT 0,
    newsletter_signups UInt16 DEFAULT 0,
    ad_clicks UInt16 DEFAULT 0,
    searches UInt16 DEFAULT 0,
    pages_visited_count UInt16 DEFAULT 0,
    unique_pages_count UInt16 DEFAULT 0,
    unique_categories_count UInt16 DEFAULT 0,
    categories_visited String CODEC(ZSTD(3)),
    article_ids_visited String CODEC(ZSTD(3)),
    article_titles_visited String CODEC(ZSTD(3)),
    page_events String CODEC(ZSTD(3)),
    engagement_score Float32,
    scroll_depth_avg UInt8,
    time_on_page_avg UInt32,
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now(),
    batch_id String
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(session_start)
ORDER BY (session_start, company_id, brand_id, user_id, session_id)
TTL created_at + toIntervalYear(1);

-- grain: one event of a session; user_id is '' for an anonymous reader
-- sharded: user_id
CREATE TABLE IF NOT EXISTS customer_events
(
    event_id String,
    session_id String,
    user_id String,
    company_id String,
    brand_id String,
    event_type String,
    event_timestamp DateTime,
    article_id String,
    article_title String,
    article_type String,
    category_id String,
    page_url String,
    country_code String,
    city_id String,
    timezone String,
    device_type_id String,
    os_id String,
    browser_id String,
    engagement_metrics String CODEC(ZSTD(3)),
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    event_date Date MATERIALIZED toDate(event_timestamp)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_timestamp)
ORDER BY (event_timestamp, company_id, brand_id, event_type, event_id)
TTL created_at + toIntervalYear(1);

-- grain: one user of a brand (company_id, brand_id, user_id) and day: the state at the end of feature_date
-- published: a day's partition is replaced
-- sharded: user_id
CREATE TABLE IF NOT EXISTS customer_user_features
(
    user_feature_id String,
    user_id String,
    company_id String,
    brand_id String,
    feature_date Date,
    total_sessions UInt32 DEFAULT 0,
    avg_session_duration_sec Float32,
    min_session_duration_sec UInt32,
    max_session_duration_sec UInt32,
    std_session_duration_sec Float32,
    avg_events_per_session Float32,
    avg_pages_per_session Float32,
    avg_categories_diversity Float32,
    avg_article_views Float32,
    avg_article_clicks Float32,
    avg_video_plays Float32,
    avg_searches Float32,
    total_newsletter_signups UInt16 DEFAULT 0,
    total_ad_clicks UInt16 DEFAULT 0,
    avg_engagement_score Float32,
    max_engagement_score Float32,
    min_engagement_score Float32,
    has_newsletter UInt8 DEFAULT 0,
    newsletter_signup_rate Float32,
    preferred_brand_id String,
    preferred_category_id String,
    preferred_device_type_id String,
    preferred_os_id String,
    preferred_browser_id String,
    primary_country_code String,
    primary_city_id String,
    current_subscription_tier String,
    current_user_segment String,
    first_session_date Date,
    last_session_date Date,
    days_active UInt16,
    days_since_last_session UInt16,
    active_today UInt8 DEFAULT 0,
    active_last_7_days UInt8 DEFAULT 0,
    active_last_30_days UInt8 DEFAULT 0,
    churn_risk_score Float32,
    churn_probability Float32,
    ml_features String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = MergeTree
PARTITION BY feature_date
ORDER BY (feature_date, company_id, brand_id, user_id)
TTL created_at + toIntervalYear(2);

-- grain: one segment
-- published: the rows of a run are added, those of earlier runs deleted
CREATE TABLE IF NOT EXISTS customer_user_segments
(
    segment_id String,
    company_id String,
    brand_id String,
    segment_name String,
    segment_code String,
    cluster_number UInt16,
    description String,
    user_count UInt32 DEFAULT 0,
    avg_engagement_score Float32,
    avg_sessions Float32,
    avg_duration_sec Float32,
    newsletter_signup_rate Float32,
    model_version String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (segment_id);

-- grain: one user of a brand, assignment day and is_current
-- published: the rows of a run are added, those of earlier runs deleted
-- sharded: user_id
CREATE TABLE IF NOT EXISTS customer_user_segment_assignments
(
    assignment_id String,
    user_id String,
    company_id String,
    brand_id String,
    segment_id String,
    assignment_date Date,
    confidence_score Float32,
    model_version String,
    is_current UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(created_at)
PARTITION BY toYYYYMM(assignment_date)
ORDER BY (company_id, brand_id, user_id, is_current, assignment_date)
TTL created_at + toIntervalYear(1);

-- grain: one user of a brand, prediction day and model
-- published: a run's partition is replaced
-- sharded: user_id
CREATE TABLE IF NOT EXISTS customer_churn_predictions
(
    prediction_id String,
    user_id String,
    company_id String,
    brand_id String,
    prediction_date Date,
    churn_probability Float32,
    churn_risk_level String,
    is_churned UInt8 DEFAULT 0,
    churned_date Date,
    model_version String,
    model_confidence Float32,
    feature_importance String CODEC(ZSTD(3)),
    days_since_last_session UInt16,
    total_sessions UInt32,
    avg_engagement_score Float32,
    subscription_tier String,
    created_at DateTime DEFAULT now()
)
ENGINE = MergeTree
PARTITION BY prediction_date
ORDER BY (prediction_date, company_id, brand_id, user_id)
TTL created_at + toIntervalYear(2);

-- grain: one recommended article for a user of a brand
-- published: a run's partition is replaced
-- sharded: user_id
CREATE TABLE IF NOT EXISTS customer_recommendations
(
    recommendation_id String,
    user_id String,
    company_id String,
    brand_id String,
    article_id String,
    category_id String,
    recommendation_type String,
    recommendation_score Float32,
    rank_position UInt16,
    model_version String,
    algorithm String,
    was_shown UInt8 DEFAULT 0,
    was_clicked UInt8 DEFAULT 0,
    was_viewed UInt8 DEFAULT 0,
    clicked_at DateTime,
    viewed_at DateTime,
    created_at DateTime DEFAULT now(),
    expires_at DateTime
)
ENGINE = MergeTree
PARTITION BY toDate(created_at, 'UTC')
ORDER BY (company_id, brand_id, user_id, recommendation_score, created_at)
TTL created_at + toIntervalMonth(6);

-- grain: one user of a brand, prediction day and model
-- published: a run's partition is replaced
-- sharded: user_id
CREATE TABLE IF NOT EXISTS customer_conversion_predictions
(
    prediction_id String,
    user_id String,
    company_id String,
    brand_id String,
    prediction_date Date,
    conversion_probability Float32,
    conversion_tier String,
    conversion_value Float32,
    model_version String,
    model_confidence Float32,
    feature_importance String CODEC(ZSTD(3)),
    did_convert UInt8 DEFAULT 0,
    converted_at DateTime,
    actual_tier String,
    created_at DateTime DEFAULT now()
)
ENGINE = MergeTree
PARTITION BY prediction_date
ORDER BY (prediction_date, company_id, brand_id, user_id)
TTL created_at + toIntervalYear(2);

-- grain: one day, brand, country, device type, tier and segment; the engine sums every number, including averages
CREATE TABLE IF NOT EXISTS customer_session_summary_daily
(
    date Date,
    brand_id String,
    country_code String,
    device_type_id String,
    subscription_tier String,
    user_segment String,
    total_sessions UInt32,
    total_users UInt32,
    avg_session_duration_sec Float32,
    avg_events_per_session Float32,
    total_article_views UInt64,
    total_video_plays UInt64,
    total_newsletter_signups UInt64,
    total_ad_clicks UInt64,
    created_at DateTime DEFAULT now()
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (date, brand_id, country_code, device_type_id, subscription_tier, user_segment)
TTL created_at + toIntervalYear(1);
