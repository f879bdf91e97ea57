-- The tables of a publisher who was there before raypipe: its own engines, keys and monthly partitions.
-- Tests create them in an empty database, to show that raypipe works on them as they are.

CREATE TABLE companies
(
    company_id String,
    company_name String,
    company_code String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (company_id);

CREATE TABLE brands
(
    brand_id String,
    company_id String,
    brand_name String,
    brand_code String,
    brand_type String,
    primary_language_code String,
    primary_country_code String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (brand_id);

CREATE TABLE countries
(
    country_code String,
    country_name String,
    continent_code String,
    region String,
    timezone String,
    currency_code String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (country_code);

CREATE TABLE cities
(
    city_id String,
    city_name String,
    country_code String,
    state_province String,
    latitude Float64,
    longitude Float64,
    population UInt32,
    timezone String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(created_at)
ORDER BY (city_id);

CREATE TABLE brand_countries
(
    brand_country_id String,
    brand_id String,
    country_code String,
    is_primary UInt8 DEFAULT 0,
    launch_date Date DEFAULT toDate(0),
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(created_at)
ORDER BY (brand_id, country_code);

CREATE TABLE categories
(
    category_id String,
    brand_id String,
    category_name String,
    category_code String,
    parent_category_id String,
    category_type String,
    display_order UInt16 DEFAULT 0,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (category_id);

CREATE TABLE device_types
(
    device_type_id String,
    device_type_code String,
    device_type_name String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(created_at)
ORDER BY (device_type_id);

CREATE TABLE operating_systems
(
    os_id String,
    os_code String,
    os_name String,
    os_family String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(created_at)
ORDER BY (os_id);

CREATE TABLE browsers
(
    browser_id String,
    browser_code String,
    browser_name String,
    vendor String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(created_at)
ORDER BY (browser_id);

CREATE TABLE users
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

CREATE TABLE user_accounts
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

CREATE TABLE customer_sessions
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

CREATE TABLE customer_events
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

CREATE TABLE customer_user_features
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
PARTITION BY toYYYYMM(feature_date)
ORDER BY (feature_date, company_id, brand_id, user_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE customer_user_segments
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

CREATE TABLE customer_user_segment_assignments
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

CREATE TABLE customer_churn_predictions
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
PARTITION BY toYYYYMM(prediction_date)
ORDER BY (prediction_date, company_id, brand_id, user_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE customer_recommendations
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
PARTITION BY toYYYYMM(created_at)
ORDER BY (company_id, brand_id, user_id, recommendation_score, created_at)
TTL created_at + toIntervalMonth(6);

CREATE TABLE customer_conversion_predictions
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
PARTITION BY toYYYYMM(prediction_date)
ORDER BY (prediction_date, company_id, brand_id, user_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE customer_session_summary_daily
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

CREATE TABLE editorial_articles
(
    article_id String,
    external_article_id String,
    company_id String,
    brand_id String,
    title String,
    headline String,
    subtitle String,
    summary String,
    content_url String,
    article_type String,
    primary_author_id String,
    primary_category_id String,
    word_count UInt32,
    reading_time_minutes UInt16,
    image_count UInt16 DEFAULT 0,
    video_count UInt16 DEFAULT 0,
    publish_time DateTime,
    publish_date Date,
    status String,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
PARTITION BY toYYYYMM(publish_date)
ORDER BY (article_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE editorial_authors
(
    author_id String,
    user_id String,
    company_id String,
    brand_id String,
    author_name String,
    author_code String,
    email String,
    department String,
    role String,
    primary_country_code String,
    primary_city_id String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (author_id);

CREATE TABLE editorial_content_events
(
    event_id String,
    article_id String,
    brand_id String,
    user_id String,
    event_type String,
    event_timestamp DateTime,
    category_id String,
    author_id String,
    country_code String,
    city_id String,
    device_type_id String,
    os_id String,
    browser_id String,
    referrer String,
    referrer_type String,
    engagement_metrics String CODEC(ZSTD(3)),
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    event_date Date MATERIALIZED toDate(event_timestamp)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_timestamp)
ORDER BY (event_timestamp, brand_id, article_id, event_type, event_id)
TTL created_at + toIntervalYear(1);

CREATE TABLE editorial_article_performance
(
    performance_id String,
    article_id String,
    brand_id String,
    performance_date Date,
    total_views UInt32 DEFAULT 0,
    unique_views UInt32 DEFAULT 0,
    unique_readers UInt32 DEFAULT 0,
    total_clicks UInt32 DEFAULT 0,
    total_shares UInt32 DEFAULT 0,
    total_comments UInt32 DEFAULT 0,
    total_likes UInt32 DEFAULT 0,
    total_bookmarks UInt32 DEFAULT 0,
    avg_time_on_page_sec UInt32,
    avg_scroll_depth UInt8,
    completion_rate Float32,
    bounce_rate Float32,
    video_plays UInt32 DEFAULT 0,
    video_completions UInt32 DEFAULT 0,
    avg_video_watch_time_sec UInt32,
    direct_views UInt32 DEFAULT 0,
    search_views UInt32 DEFAULT 0,
    social_views UInt32 DEFAULT 0,
    newsletter_views UInt32 DEFAULT 0,
    internal_views UInt32 DEFAULT 0,
    top_countries String CODEC(ZSTD(3)),
    top_cities String CODEC(ZSTD(3)),
    desktop_views UInt32 DEFAULT 0,
    mobile_views UInt32 DEFAULT 0,
    tablet_views UInt32 DEFAULT 0,
    engagement_score Float32,
    quality_score Float32,
    ad_revenue Float32 DEFAULT 0,
    subscription_conversions UInt16 DEFAULT 0,
    newsletter_signups UInt16 DEFAULT 0,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(performance_date)
ORDER BY (performance_date, article_id, brand_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE editorial_article_content
(
    content_id String,
    article_id String,
    brand_id String,
    content_version UInt16,
    content_format String,
    content_status String,
    is_current_version UInt8 DEFAULT 0,
    is_published_version UInt8 DEFAULT 0,
    word_count UInt32,
    character_count UInt32,
    reading_time_minutes UInt16,
    content_language_code String,
    previous_version_id String,
    version_created_by String,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now(),
    published_at DateTime,
    metadata String
)
ENGINE = ReplacingMergeTree(updated_at)
PARTITION BY toYYYYMM(created_at)
ORDER BY (content_id, content_version)
TTL created_at + toIntervalYear(2);

CREATE TABLE editorial_author_performance
(
    performance_id String,
    author_id String,
    brand_id String,
    performance_date Date,
    articles_published UInt16 DEFAULT 0,
    articles_scheduled UInt16 DEFAULT 0,
    articles_draft UInt16 DEFAULT 0,
    total_views UInt32 DEFAULT 0,
    unique_readers UInt32 DEFAULT 0,
    avg_views_per_article Float32,
    total_engagement UInt32 DEFAULT 0,
    avg_engagement_score Float32,
    total_shares UInt32 DEFAULT 0,
    total_comments UInt32 DEFAULT 0,
    best_article_id String,
    best_article_views UInt32,
    best_article_engagement Float32,
    top_category_id String,
    top_category_views UInt32,
    author_rank UInt16,
    engagement_rank UInt16,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(performance_date)
ORDER BY (performance_date, author_id, brand_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE editorial_category_performance
(
    performance_id String,
    category_id String,
    brand_id String,
    performance_date Date,
    articles_published UInt16 DEFAULT 0,
    articles_scheduled UInt16 DEFAULT 0,
    total_views UInt32 DEFAULT 0,
    unique_readers UInt32 DEFAULT 0,
    avg_views_per_article Float32,
    total_engagement UInt32 DEFAULT 0,
    avg_engagement_score Float32,
    engagement_growth_rate Float32,
    is_trending UInt8 DEFAULT 0,
    trending_score Float32,
    trending_rank UInt16,
    peak_hour UInt8,
    peak_day_of_week UInt8,
    best_article_id String,
    best_article_views UInt32,
    top_author_ids String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(performance_date)
ORDER BY (performance_date, category_id, brand_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE ml_model_registry
(
    model_id String,
    model_name String,
    model_code String,
    model_version String,
    model_type String,
    domain String,
    algorithm String,
    model_framework String,
    model_format String,
    model_path String,
    model_storage_type String,
    model_storage_url String,
    description String,
    tags Array(String),
    metadata String,
    training_dataset_path String,
    training_dataset_size UInt32,
    training_date DateTime,
    training_duration_sec UInt32,
    training_environment String,
    performance_metrics String,
    feature_importance String,
    evaluation_dataset_metrics String,
    model_status String DEFAULT 'TRAINING',
    is_active UInt8 DEFAULT 1,
    deployed_at DateTime,
    deployed_by String,
    deployment_environment String,
    company_id String,
    brand_id String,
    parent_model_id String,
    is_latest_version UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now(),
    created_by String
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (model_code, model_version);

CREATE TABLE ml_model_features
(
    feature_id String,
    model_id String,
    feature_name String,
    feature_code String,
    feature_type String,
    feature_data_type String,
    description String,
    is_required UInt8 DEFAULT 1,
    default_value String,
    feature_importance Float64,
    feature_rank UInt16,
    min_value Float64,
    max_value Float64,
    mean_value Float64,
    std_value Float64,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (model_id, feature_rank);

CREATE TABLE ml_model_training_runs
(
    run_id String,
    model_id String,
    run_name String,
    run_type String,
    run_status String,
    started_at DateTime,
    completed_at DateTime,
    duration_sec UInt32,
    training_dataset_path String,
    training_dataset_size UInt32,
    validation_dataset_path String,
    validation_dataset_size UInt32,
    test_dataset_path String,
    test_dataset_size UInt32,
    hyperparameters String,
    training_metrics String,
    validation_metrics String,
    test_metrics String,
    feature_importance String,
    model_path String,
    model_storage_url String,
    error_message String,
    created_by String,
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (model_id, started_at);

CREATE TABLE ml_model_predictions
(
    prediction_id String,
    model_id String,
    prediction_type String,
    entity_id String,
    entity_type String,
    prediction_value Float64,
    prediction_probability Float32,
    prediction_class String,
    prediction_confidence Float32,
    input_features String CODEC(ZSTD(3)),
    actual_value Float64,
    actual_class String,
    is_correct UInt8,
    predicted_at DateTime DEFAULT now(),
    prediction_date Date,
    actual_observed_at DateTime,
    company_id String,
    brand_id String,
    batch_id String,
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now()
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(predicted_at)
ORDER BY (predicted_at, model_id, entity_id, prediction_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE ml_model_monitoring
(
    monitoring_id String,
    model_id String,
    monitoring_date Date,
    monitoring_start_time DateTime,
    monitoring_end_time DateTime,
    total_predictions UInt32 DEFAULT 0,
    predictions_per_hour Float32,
    avg_prediction_latency_ms Float32,
    p95_prediction_latency_ms Float32,
    p99_prediction_latency_ms Float32,
    accuracy Float32,
    precision Float32,
    recall Float32,
    f1_score Float32,
    auc_roc Float32,
    data_drift_score Float32,
    feature_drift_scores String CODEC(ZSTD(3)),
    drift_detected UInt8 DEFAULT 0,
    performance_drift_score Float32,
    performance_drift_detected UInt8 DEFAULT 0,
    prediction_distribution String CODEC(ZSTD(3)),
    confidence_distribution String CODEC(ZSTD(3)),
    error_count UInt32 DEFAULT 0,
    error_rate Float32,
    error_types String CODEC(ZSTD(3)),
    alerts_triggered UInt16 DEFAULT 0,
    alert_types String CODEC(ZSTD(3)),
    company_id String,
    brand_id String,
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(monitoring_date)
ORDER BY (monitoring_date, model_id, brand_id)
TTL created_at + toIntervalYear(2);

CREATE TABLE ml_model_ab_tests
(
    test_id String,
    test_name String,
    test_code String,
    model_a_id String,
    model_b_id String,
    traffic_split_a Float32 DEFAULT 0.5,
    traffic_split_b Float32 DEFAULT 0.5,
    test_start_date Date,
    test_end_date Date,
    min_sample_size UInt32,
    test_status String,
    model_a_predictions UInt32 DEFAULT 0,
    model_b_predictions UInt32 DEFAULT 0,
    model_a_accuracy Float32,
    model_b_accuracy Float32,
    model_a_metric Float32,
    model_b_metric Float32,
    statistical_significance Float32,
    confidence_level Float32,
    winning_model_id String,
    winner_determined_at DateTime,
    company_id String,
    brand_id String,
    created_by String,
    metadata String CODEC(ZSTD(3)),
    created_at DateTime DEFAULT now(),
    updated_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (test_id);
