-- The publisher's editorial side: articles, authors, readers' events on them, and daily performance.
--
-- The *_performance tables are SummingMergeTree, which also adds up averages, rates and ranks when it merges two rows of a key:
-- group by the key when reading, and weight averages by their counts. editorial_articles and editorial_authors are
-- ReplacingMergeTree: read them with FINAL.
--
-- TTL counts from created_at, the time of writing: a row inserted with an old created_at vanishes with the first merge.

-- grain: one article; an older version may exist beside the newest until parts are merged
CREATE TABLE IF NOT EXISTS editorial_articles
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

-- grain: one author
CREATE TABLE IF NOT EXISTS editorial_authors
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

-- grain: one event of a reader on an article; user_id is '' for an anonymous reader
-- sharded: user_id
CREATE TABLE IF NOT EXISTS editorial_content_events
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

-- grain: one article, brand and day; the engine sums every number, including averages and rates
CREATE TABLE IF NOT EXISTS editorial_article_performance
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

-- grain: one version of an article's content
CREATE TABLE IF NOT EXISTS editorial_article_content
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

-- grain: one author, brand and day; the engine sums every number, including averages
CREATE TABLE IF NOT EXISTS editorial_author_performance
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

-- grain: one category, brand and day; the engine sums every number, including averages and ranks
CREATE TABLE IF NOT EXISTS editorial_category_performance
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
