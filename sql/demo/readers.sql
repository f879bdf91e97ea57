-- grain: demo_truth (company_id, brand_id, user_id); users (user_id); user_accounts (account_id)
-- parameters: seed UInt64, users UInt64, first_date Date, last_date Date, written_at DateTime
-- visits: visits.sql; intensity is log-normal in loyalty, and highest for readers who stay shortest (for the headlines) or longest
-- conversion: hazard.sql; every other topic sells, and the hazard saturates in loyalty. Readers who mind the price convert if they get the
--     newsletter, and hardly otherwise; for others, the newsletter is enough
INSERT INTO demo_truth
SELECT
    company_id, brand_id, user_id, person, key, brand, account_id, loyalty, interest, price_sensitivity, newsletter_reader, topic, second_topic,
    favourite_author, weekend_reader, turn_every, turn_shift, intensity, repeat_rate, joined, initial_tier, paid_tier, conversion_hazard, converted_on, segment, device, os,
    browser, country, city
FROM
(
    WITH
        (kind, n) -> UUIDNumToString(murmurHash3_128(kind, toUInt64(n))) AS uuid,
        {include:demo/chance.sql},
        {include:demo/hazard.sql},
        (SELECT groupArray(toUInt16(day)) FROM (SELECT day FROM demo_days ORDER BY day)) AS days,
        (k, n, list) -> list[1 + toUInt32(floor(uniform(k, n) * length(list)))] AS pick
    SELECT
        uuid('company', brand <= 3 ? 1 : 2) AS company_id,
        uuid('brand', brand) AS brand_id,
        UUIDNumToString(murmurHash3_128({seed:UInt64}, 'user', person)) AS user_id,
        person,
        cityHash64({seed:UInt64}, person, seat) AS key,
        (home + seat * (1 + toUInt8(floor(uniform(own, 5) * 4)))) % 5 + 1 AS brand,
        UUIDNumToString(murmurHash3_128({seed:UInt64}, 'account', person, seat)) AS account_id,
        normal(key, 10) AS loyalty,
        normal(key, 20) AS interest,
        normal(own, 30) AS price_sensitivity,
        toUInt8(floor(uniform(own, 40) * 8)) AS topic,
        toUInt8((topic + 1 + floor(uniform(own, 41) * 7)) % 8) AS second_topic,
        uniform(own, 46) < 0.3 AS newsletter_reader,
        toUInt8(floor(uniform(key, 47) * 12)) AS favourite_author,
        uniform(own, 42) < 0.25 AS weekend_reader,
        toUInt8(80 + floor(uniform(key, 48) * 41)) AS turn_every,
        toUInt8(floor(uniform(key, 49) * turn_every)) AS turn_shift,
        least(1.5, exp(log(0.040) + loyalty + 0.35 * (interest * interest - 1))) AS intensity,
        0.05 + 0.15 / (1 + exp(-interest)) AS repeat_rate,
        {first_date:Date} + toUInt16(greatest(0, floor((uniform(own, 43) - 0.65) / 0.35 * length(days)))) AS joined,
        0.009 / (1 + exp(-2 * loyalty)) * (topic % 2 = 0 ? 2. : 0.2)
            * multiIf(price_sensitivity > 0, newsletter_reader ? 1.8 : 0.05, newsletter_reader ? 0.3 : 1.2) AS free_hazard,
        -- As many readers of a hazard are free at first as keeps their number: those who join replace those who convert.
        multiIf(
            joined > {first_date:Date} OR uniform(key, 44) < 0.0032 / free_hazard, 'free',
            price_sensitivity > 0, 'basic',
            'premium') AS initial_tier,
        price_sensitivity > 0.2 ? 'basic' : 'premium' AS paid_tier,
        initial_tier = 'free' ? free_hazard : 0. AS conversion_hazard,
        arrayCumSum(arrayMap(day -> hazard(day), days)) AS hazards,
        -- The first day on which the hazards so far exceed an exponential value; 1970-01-01 where they never do.
        toDate(days[arrayFirstIndex(reached -> reached > -log(uniform(key, 45)), hazards)]) AS converted_on,
        loyalty + 0.4 * normal(key, 60) AS standing,
        multiIf(standing < -0.7, 'passer-by', standing < 0.2, 'casual', standing < 1.1, 'regular', 'devoted') AS segment,
        pick(own, 50, [1, 1, 1, 1, 1, 2, 2, 2, 2, 3]) AS device,
        device = 2 ? pick(own, 51, [3, 3, 3, 4, 5]) : pick(own, 51, [1, 1, 1, 2, 2]) AS os,
        os IN (2, 4) ? pick(own, 52, [2, 2, 2, 1, 3]) : pick(own, 52, [1, 1, 1, 3, 4]) AS browser,
        pick(own, 53, [1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8]) AS country,
        (country - 1) * 3 + pick(own, 54, [1, 1, 1, 2, 2, 3]) AS city
    FROM
    (
        SELECT number AS person, cityHash64({seed:UInt64}, number) AS own, own % 5 AS home,
            arrayJoin(own % 100 < 8 ? [0, 1] : [0]) AS seat
        FROM numbers({users:UInt64})
    )
);

INSERT INTO users
    (user_id, user_external_id, email, username, first_name, last_name, display_name, primary_country_code, primary_language_code, timezone,
     is_verified, created_at, updated_at)
SELECT
    user_id,
    concat('ext-', toString(person)),
    concat('reader', toString(person), '@example.com'),
    concat('reader', toString(person)),
    ['Alex', 'Sam', 'Robin', 'Kit', 'Noa', 'Jo', 'Max', 'Uma'][key % 8 + 1] AS first_name,
    ['Reed', 'Lane', 'Moss', 'Vale', 'Frost', 'Hale', 'Wren', 'Stone'][intDiv(key, 8) % 8 + 1] AS last_name,
    concat(first_name, ' ', last_name),
    ['GB', 'US', 'DE', 'FR', 'ES', 'IT', 'NL', 'SE'][country],
    'en',
    'UTC',
    key % 10 < 7,
    {written_at:DateTime},
    {written_at:DateTime}
FROM demo_truth
WHERE key = cityHash64({seed:UInt64}, person, 0);

INSERT INTO user_accounts
    (account_id, user_id, company_id, brand_id, account_type, subscription_tier, subscription_status, subscription_start_date,
     payment_method, billing_country_code, metadata, created_at, updated_at)
SELECT
    account_id,
    user_id,
    company_id,
    brand_id,
    'reader',
    converted_on = toDate(0) ? initial_tier : paid_tier AS tier,
    'active',
    tier = 'free' ? toDate(0) : greatest(converted_on, joined),
    tier = 'free' ? '' : 'card',
    ['GB', 'US', 'DE', 'FR', 'ES', 'IT', 'NL', 'SE'][country],
    tier = 'free' ? '{}' : concat('{"monthly_price":', tier = 'basic' ? '4.9' : '9.9', '}'),
    {written_at:DateTime},
    {written_at:DateTime}
FROM demo_truth;
