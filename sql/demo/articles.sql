-- grain: demo_articles and editorial_articles (article_id): six articles per brand and day, from two weeks before the first date
-- parameters: seed UInt64, first_date Date, last_date Date, written_at DateTime
INSERT INTO demo_articles
WITH
    (k, n) -> (intHash64(bitXor(k, n * 0x9E3779B97F4A7C15)) + 0.5) / 18446744073709551616. AS uniform,
    (k, n) -> sqrt(-2 * log(uniform(k, n))) * cos(6.283185307179586 * uniform(k, n + 1)) AS normal
SELECT
    UUIDNumToString(murmurHash3_128(brand_key, code)) AS article_id,
    brand,
    day,
    slot,
    toUInt8(floor(uniform(cityHash64(brand_key, code), 1) * 8)) AS topic,
    normal(cityHash64(brand_key, code), 2) AS quality
FROM
(
    SELECT
        toUInt8(number % 5 + 1) AS brand,
        toUInt8(intDiv(number, 5) % 6) AS slot,
        {first_date:Date} - 14 + intDiv(number, 30) AS day,
        cityHash64({seed:UInt64}, 'articles', brand) AS brand_key,
        toUInt32(toUInt16(day) * 8 + slot) AS code
    FROM numbers(toUInt64({last_date:Date} - {first_date:Date} + 15) * 30)
);

INSERT INTO editorial_articles
    (article_id, external_article_id, company_id, brand_id, title, headline, subtitle, summary, content_url, article_type,
     primary_author_id, primary_category_id, word_count, reading_time_minutes, image_count, publish_time, publish_date, status,
     created_at, updated_at)
SELECT
    article_id,
    concat('a-', toString(brand), '-', toString(day), '-', toString(slot)) AS code,
    UUIDNumToString(murmurHash3_128('company', toUInt64(brand <= 3 ? 1 : 2))),
    UUIDNumToString(murmurHash3_128('brand', toUInt64(brand))),
    concat(['Politics', 'World', 'Business', 'Technology', 'Culture', 'Health', 'Travel', 'Opinion'][topic + 1], ' of ', toString(day), ', no. ', toString(slot + 1)) AS heading,
    heading,
    '',
    concat('What happened on ', toString(day)),
    concat('https://example.com/', code),
    ['news', 'analysis', 'video', 'feature'][cityHash64(article_id) % 4 + 1],
    UUIDNumToString(murmurHash3_128('author', toUInt64((brand - 1) * 12 + cityHash64(article_id, 'author') % 12))),
    UUIDNumToString(murmurHash3_128('category', toUInt64((brand - 1) * 8 + topic))),
    300 + cityHash64(article_id, 'words') % 1200 AS words,
    1 + intDiv(words, 200),
    cityHash64(article_id, 'images') % 5,
    toDateTime(day, 'UTC') + slot * 10800,
    day,
    'published',
    {written_at:DateTime},
    {written_at:DateTime}
FROM demo_articles;
