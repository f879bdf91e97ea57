-- grain: demo_truth (company_id, brand_id, user_id); users (user_id); user_accounts (account_id)
-- parameters: seed UInt64, users UInt64, first_date Date, last_date Date, written_at DateTime
-- process: visits are Poisson with a log-normal intensity of loyalty + 0.5 * interest, so that engagement
-- (loyalty) and length (interest) reveal most about the next month
INSERT INTO demo_truth
SELECT
    company_id, brand_id, user_id, person, key, brand, account_id, loyalty, interest, price_sensitivity, topic, second_topic,
    weekend_reader, intensity, repeat_rate, joined, initial_tier, paid_tier, conversion_hazard, converted_on, segment, device, os,
    browser, country, city
FROM
(
    WITH
        (kind, n) -> UUIDNumToString(murmurHash3_128(kind, toUInt64(n))) AS uuid,
        (k, n) -> (intHash64(bitXor(k, n * 0x9E3779B97F4A7C15)) + 0.5) / 18446744073709551616. AS uniform,
        (k, n) -> sqrt(-2 * log(uniform(k, n))) * cos(6.283185307179586 * uniform(k, n + 1)) AS normal,
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
        uniform(own, 42) < 0.25 AS weekend_reader,
        least(1.5, exp(log(0.040) + loyalty + 0.5 * interest)) AS intensity,
        0.05 + 0.15 / (1 + exp(-interest)) AS repeat_rate,
        {first_date:Date} + toUInt16(greatest(0, floor((uniform(own, 43) - 0.75) * 4 * days))) AS joined,
        multiIf(uniform(key, 44) > 1 / (1 + exp(2 - 0.9 * loyalty + 0.7 * price_sensitivity)), 'free', price_sensitivity > 0, 'basic', 'premium') AS initial_tier,
        price_sensitivity > 0.2 ? 'basic' : 'premium' AS paid_tier,
        initial_tier != 'free' ? 0 : 0.0012 * exp(0.9 * loyalty - 0.7 * price_sensitivity) AS conversion_hazard,
        floor(-log(uniform(key, 45)) / nullIf(conversion_hazard, 0)) AS free_days,
        toDate(free_days <= {last_date:Date} - joined ? joined + toUInt16(assumeNotNull(free_days)) : toDate(0)) AS converted_on,
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
            {last_date:Date} - {first_date:Date} + 1 AS days,
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
     payment_method, billing_country_code, created_at, updated_at)
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
    {written_at:DateTime},
    {written_at:DateTime}
FROM demo_truth;
