-- grain: a statement per reference table; the ids do not depend on the seed
-- parameters: written_at DateTime
INSERT INTO companies (company_id, company_name, company_code, created_at, updated_at)
SELECT
    UUIDNumToString(murmurHash3_128('company', toUInt64(number + 1))),
    ['Northwind Media', 'Harbour Press'][number + 1],
    ['NWM', 'HBP'][number + 1],
    {written_at:DateTime},
    {written_at:DateTime}
FROM numbers(2);

INSERT INTO brands
    (brand_id, company_id, brand_name, brand_code, brand_type, primary_language_code, primary_country_code, created_at, updated_at)
SELECT
    UUIDNumToString(murmurHash3_128('brand', toUInt64(number + 1))),
    UUIDNumToString(murmurHash3_128('company', toUInt64(number < 3 ? 1 : 2))),
    ['The Northern Post', 'Money Daily', 'Sport Today', 'Harbour News', 'Kitchen & Garden'][number + 1],
    ['POST', 'MONEY', 'SPORT', 'HARBOUR', 'KITCHEN'][number + 1],
    ['news', 'business', 'sport', 'news', 'lifestyle'][number + 1],
    'en',
    ['GB', 'US', 'GB', 'DE', 'FR'][number + 1],
    {written_at:DateTime},
    {written_at:DateTime}
FROM numbers(5);

INSERT INTO countries
    (country_code, country_name, continent_code, region, timezone, currency_code, created_at, updated_at)
SELECT
    ['GB', 'US', 'DE', 'FR', 'ES', 'IT', 'NL', 'SE'][number + 1],
    ['United Kingdom', 'United States', 'Germany', 'France', 'Spain', 'Italy', 'Netherlands', 'Sweden'][number + 1],
    number = 1 ? 'NA' : 'EU',
    number = 1 ? 'Americas' : 'Europe',
    ['Europe/London', 'America/New_York', 'Europe/Berlin', 'Europe/Paris', 'Europe/Madrid', 'Europe/Rome', 'Europe/Amsterdam', 'Europe/Stockholm'][number + 1],
    ['GBP', 'USD', 'EUR', 'EUR', 'EUR', 'EUR', 'EUR', 'SEK'][number + 1],
    {written_at:DateTime},
    {written_at:DateTime}
FROM numbers(8);

INSERT INTO cities (city_id, city_name, country_code, latitude, longitude, population, timezone, created_at)
SELECT
    UUIDNumToString(murmurHash3_128('city', toUInt64(number + 1))),
    ['London', 'Leeds', 'Bristol', 'New York', 'Chicago', 'Seattle', 'Berlin', 'Hamburg', 'Munich', 'Paris', 'Lyon', 'Lille', 'Madrid', 'Seville',
        'Bilbao', 'Rome', 'Milan', 'Turin', 'Amsterdam', 'Utrecht', 'Leiden', 'Stockholm', 'Uppsala', 'Malmo'][number + 1],
    ['GB', 'US', 'DE', 'FR', 'ES', 'IT', 'NL', 'SE'][intDiv(number, 3) + 1],
    [51.5, 53.8, 51.5, 40.7, 41.9, 47.6, 52.5, 53.6, 48.1, 48.9, 45.8, 50.6, 40.4, 37.4, 43.3, 41.9, 45.5, 45.1, 52.4, 52.1, 52.2, 59.3, 59.9, 55.6][number + 1],
    [-0.1, -1.5, -2.6, -74.0, -87.6, -122.3, 13.4, 10.0, 11.6, 2.4, 4.8, 3.1, -3.7, -6.0, -2.9, 12.5, 9.2, 7.7, 4.9, 5.1, 4.5, 18.1, 17.6, 13.0][number + 1],
    [8900, 510, 470, 8400, 2700, 740, 3700, 1850, 1500, 2100, 520, 230, 3300, 690, 350, 2800, 1370, 850, 870, 360, 125, 980, 180, 360][number + 1] * 1000,
    ['Europe/London', 'America/New_York', 'Europe/Berlin', 'Europe/Paris', 'Europe/Madrid', 'Europe/Rome', 'Europe/Amsterdam', 'Europe/Stockholm'][intDiv(number, 3) + 1],
    {written_at:DateTime}
FROM numbers(24);

INSERT INTO categories
    (category_id, brand_id, category_name, category_code, category_type, display_order, created_at, updated_at)
SELECT
    UUIDNumToString(murmurHash3_128('category', toUInt64(number))),
    UUIDNumToString(murmurHash3_128('brand', toUInt64(intDiv(number, 8) + 1))),
    ['Politics', 'World', 'Business', 'Technology', 'Culture', 'Health', 'Travel', 'Opinion'][number % 8 + 1],
    ['POL', 'WOR', 'BUS', 'TEC', 'CUL', 'HEA', 'TRA', 'OPI'][number % 8 + 1],
    'section',
    number % 8 + 1,
    {written_at:DateTime},
    {written_at:DateTime}
FROM numbers(40);

INSERT INTO device_types (device_type_id, device_type_code, device_type_name, created_at)
SELECT
    UUIDNumToString(murmurHash3_128('device', toUInt64(number + 1))),
    ['mobile', 'desktop', 'tablet'][number + 1],
    ['Mobile', 'Desktop', 'Tablet'][number + 1],
    {written_at:DateTime}
FROM numbers(3);

INSERT INTO operating_systems (os_id, os_code, os_name, os_family, created_at)
SELECT
    UUIDNumToString(murmurHash3_128('os', toUInt64(number + 1))),
    ['android', 'ios', 'windows', 'macos', 'linux'][number + 1],
    ['Android', 'iOS', 'Windows', 'macOS', 'Linux'][number + 1],
    ['linux', 'darwin', 'windows', 'darwin', 'linux'][number + 1],
    {written_at:DateTime}
FROM numbers(5);

INSERT INTO browsers (browser_id, browser_code, browser_name, vendor, created_at)
SELECT
    UUIDNumToString(murmurHash3_128('browser', toUInt64(number + 1))),
    ['chrome', 'safari', 'firefox', 'edge'][number + 1],
    ['Chrome', 'Safari', 'Firefox', 'Edge'][number + 1],
    ['Google', 'Apple', 'Mozilla', 'Microsoft'][number + 1],
    {written_at:DateTime}
FROM numbers(4);

INSERT INTO brand_countries (brand_country_id, brand_id, country_code, is_primary, launch_date, created_at)
SELECT
    UUIDNumToString(murmurHash3_128('brand_country', toUInt64(number))),
    UUIDNumToString(murmurHash3_128('brand', toUInt64(intDiv(number, 8) + 1))),
    ['GB', 'US', 'DE', 'FR', 'ES', 'IT', 'NL', 'SE'][number % 8 + 1],
    ['GB', 'US', 'DE', 'FR', 'ES', 'IT', 'NL', 'SE'][number % 8 + 1] = ['GB', 'US', 'GB', 'DE', 'FR'][intDiv(number, 8) + 1],
    toDate('2015-01-01'),
    {written_at:DateTime}
FROM numbers(40);

INSERT INTO editorial_authors
    (author_id, user_id, company_id, brand_id, author_name, author_code, email, department, role, primary_country_code, created_at, updated_at)
SELECT
    UUIDNumToString(murmurHash3_128('author', toUInt64(number))),
    '',
    UUIDNumToString(murmurHash3_128('company', toUInt64(number < 36 ? 1 : 2))),
    UUIDNumToString(murmurHash3_128('brand', toUInt64(intDiv(number, 12) + 1))),
    concat(['Ada', 'Ben', 'Cleo', 'Dan', 'Eva', 'Finn', 'Gia', 'Hugo', 'Ida', 'Jon', 'Kim', 'Leo'][number % 12 + 1], ' ',
        ['Ashby', 'Brook', 'Carter', 'Dale', 'Ellis'][intDiv(number, 12) + 1]),
    concat('A', leftPad(toString(number), 3, '0')),
    concat('author', toString(number), '@example.com'),
    'newsroom',
    'writer',
    ['GB', 'US', 'GB', 'DE', 'FR'][intDiv(number, 12) + 1],
    {written_at:DateTime},
    {written_at:DateTime}
FROM numbers(60);
