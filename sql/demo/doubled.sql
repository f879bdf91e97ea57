-- grain: an older version of some rows of the tables that replace by key: until a merge, their keys occur twice
-- parameters: written_at DateTime
-- why: a join without FINAL or ANY doubles its rows here, as in a database with real updates
INSERT INTO brands (brand_id, company_id, brand_name, brand_code, brand_type, created_at, updated_at)
SELECT brand_id, company_id, concat(brand_name, ' (old name)'), brand_code, brand_type, created_at, {written_at:DateTime} - 86400
FROM brands FINAL WHERE brand_code IN ('POST', 'KITCHEN');

INSERT INTO countries (country_code, country_name, continent_code, created_at, updated_at)
SELECT country_code, concat(country_name, ' (old name)'), continent_code, created_at, {written_at:DateTime} - 86400
FROM countries FINAL WHERE country_code = 'DE';

INSERT INTO cities (city_id, city_name, country_code, created_at)
SELECT city_id, concat(city_name, ' (old name)'), country_code, {written_at:DateTime} - 86400
FROM cities FINAL WHERE city_name IN ('Berlin', 'Lyon');

INSERT INTO categories (category_id, brand_id, category_name, category_code, created_at, updated_at)
SELECT category_id, brand_id, concat(category_name, ' (old name)'), category_code, created_at, {written_at:DateTime} - 86400
FROM categories FINAL WHERE category_code = 'TEC';

INSERT INTO device_types (device_type_id, device_type_code, device_type_name, created_at)
SELECT device_type_id, device_type_code, 'Phone (old name)', {written_at:DateTime} - 86400
FROM device_types FINAL WHERE device_type_code = 'mobile';

INSERT INTO operating_systems (os_id, os_code, os_name, os_family, created_at)
SELECT os_id, os_code, 'OS X (old name)', os_family, {written_at:DateTime} - 86400
FROM operating_systems FINAL WHERE os_code = 'macos';

INSERT INTO browsers (browser_id, browser_code, browser_name, vendor, created_at)
SELECT browser_id, browser_code, 'Edge (old name)', vendor, {written_at:DateTime} - 86400
FROM browsers FINAL WHERE browser_code = 'edge';

INSERT INTO editorial_articles
    (article_id, external_article_id, company_id, brand_id, title, article_type, primary_author_id, primary_category_id, publish_time,
     publish_date, status, created_at, updated_at)
SELECT article_id, external_article_id, company_id, brand_id, concat(title, ' (draft)'), article_type, primary_author_id,
    primary_category_id, publish_time, publish_date, 'draft', created_at, {written_at:DateTime} - 86400
FROM editorial_articles FINAL WHERE cityHash64(article_id) % 20 = 0;

-- Registered free, upgraded later: the account's first version.
INSERT INTO user_accounts
    (account_id, user_id, company_id, brand_id, account_type, subscription_tier, subscription_status, billing_country_code, created_at, updated_at)
SELECT account_id, user_id, company_id, brand_id, account_type, 'free', 'active', billing_country_code, created_at, {written_at:DateTime} - 86400
FROM user_accounts FINAL WHERE subscription_tier != 'free' AND cityHash64(account_id) % 3 = 0;
