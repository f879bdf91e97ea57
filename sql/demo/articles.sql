-- grain: demo_articles and editorial_articles (article_id): an article per brand, day and topic, from two weeks before the first date
-- parameters: seed UInt64, first_date Date, last_date Date, written_at DateTime
INSERT INTO demo_articles
WITH
    {include:demo/chance.sql},
    {include:demo/desks.sql},
    {include:demo/qualities.sql}
SELECT
    UUIDNumToString(murmurHash3_128(brand_key, code)) AS article_id,
    brand,
    toDate(intDiv(code, 8)) AS day,
    toUInt8(code % 8) AS topic,
    author_of(brand_key, code) AS author,
    type_of(brand_key, code) AS type,
    quality_of(brand_key, brand, code) AS quality
FROM
(
    SELECT
        toUInt8(number % 5 + 1) AS brand,
        cityHash64({seed:UInt64}, 'articles', brand) AS brand_key,
        toUInt32(8 * toUInt16({first_date:Date} - 14) + intDiv(number, 5)) AS code
    FROM numbers(toUInt64({last_date:Date} - {first_date:Date} + 15) * 40)
);

INSERT INTO editorial_articles
    (article_id, external_article_id, company_id, brand_id, title, headline, subtitle, summary, content_url, article_type,
     primary_author_id, primary_category_id, word_count, reading_time_minutes, image_count, publish_time, publish_date, status,
     created_at, updated_at)
SELECT
    article_id,
    concat('a-', toString(brand), '-', toString(day), '-', toString(topic)) AS code,
    UUIDNumToString(murmurHash3_128('company', toUInt64(brand <= 3 ? 1 : 2))),
    UUIDNumToString(murmurHash3_128('brand', toUInt64(brand))),
    concat(['Politics', 'World', 'Business', 'Technology', 'Culture', 'Health', 'Travel', 'Opinion'][topic + 1], ' of ', toString(day)) AS heading,
    heading,
    '',
    concat('What happened on ', toString(day)),
    concat('https://example.com/', code),
    ['news', 'analysis', 'video', 'feature'][type + 1],
    UUIDNumToString(murmurHash3_128('author', toUInt64((brand - 1) * 12 + author))),
    UUIDNumToString(murmurHash3_128('category', toUInt64((brand - 1) * 8 + topic))),
    300 + cityHash64(article_id, 'words') % 1200 AS words,
    1 + intDiv(words, 200),
    cityHash64(article_id, 'images') % 5,
    toDateTime(day, 'UTC') + topic * 10800,
    day,
    'published',
    {written_at:DateTime},
    {written_at:DateTime}
FROM demo_articles;
