-- The publisher's reference tables: companies, brands, places, categories and devices.
--
-- All are ReplacingMergeTree: until parts are merged a key can occur twice, so read with FINAL and join with ANY.
-- Identifiers are UUIDs in Strings, flags are UInt8; '' and 1970-01-01 mean missing.

-- grain: one company
CREATE TABLE IF NOT EXISTS companies
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

-- grain: one brand
CREATE TABLE IF NOT EXISTS brands
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

-- grain: one country
CREATE TABLE IF NOT EXISTS countries
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

-- grain: one city
CREATE TABLE IF NOT EXISTS cities
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

-- grain: one brand in one country
CREATE TABLE IF NOT EXISTS brand_countries
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

-- grain: one category of a brand
CREATE TABLE IF NOT EXISTS categories
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

-- grain: one device type
CREATE TABLE IF NOT EXISTS device_types
(
    device_type_id String,
    device_type_code String,
    device_type_name String,
    is_active UInt8 DEFAULT 1,
    created_at DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree(created_at)
ORDER BY (device_type_id);

-- grain: one operating system
CREATE TABLE IF NOT EXISTS operating_systems
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

-- grain: one browser
CREATE TABLE IF NOT EXISTS browsers
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
