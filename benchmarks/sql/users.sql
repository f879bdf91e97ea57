-- grain: (company_id, brand_id, user_id, feature_date); all users were active in the last 30 days
-- parameters: rows UInt64 (users of the snapshot), date Date (the snapshot)
-- All values are hashes of the user's number and the date, so the same parameters give the same rows.
INSERT INTO customer_user_features
(
    user_feature_id, user_id, company_id, brand_id, feature_date,
    total_sessions, avg_session_duration_sec, min_session_duration_sec, max_session_duration_sec, std_session_duration_sec,
    avg_events_per_session, avg_pages_per_session, avg_categories_diversity, avg_article_views, avg_article_clicks,
    avg_video_plays, avg_searches, total_newsletter_signups, total_ad_clicks,
    avg_engagement_score, max_engagement_score, min_engagement_score, has_newsletter, newsletter_signup_rate,
    preferred_brand_id, preferred_category_id, preferred_device_type_id, preferred_os_id, preferred_browser_id,
    primary_country_code, primary_city_id, current_subscription_tier, current_user_segment,
    first_session_date, last_session_date, days_active, days_since_last_session,
    active_today, active_last_7_days, active_last_30_days
)
WITH
    (number, {date:Date}) AS seed,
    -- Uniform on (0, 1), one per independent quantity.
    (sipHash64(number, 1) + 1) / 18446744073709551617 AS loyalty,
    (sipHash64(number, 2) + 1) / 18446744073709551617 AS taste,
    (sipHash64(seed, 3) + 1) / 18446744073709551617 AS mood,
    (sipHash64(seed, 4) + 1) / 18446744073709551617 AS luck,
    (sipHash64(seed, 5) + 1) / 18446744073709551617 AS noise,
    toUInt16(30 + 300 * taste) AS tenure,
    toUInt16(least(29, tenure - 1, -log(luck) * (2 + 10 * (1 - loyalty)))) AS idle,
    toUInt32(1 + tenure / 7 * (0.2 + 6 * loyalty * loyalty)) AS sessions,
    toFloat32(60 + 400 * mood * (0.5 + loyalty)) AS duration,
    toFloat32(10 + 60 * loyalty + 30 * mood * noise) AS engagement,
    toFloat32(1 + 8 * mood) AS pages
SELECT
    toString(reinterpretAsUUID(sipHash128(seed))),
    toString(reinterpretAsUUID(sipHash128(number))),
    concat('company-', toString(number % 5 % 2)),
    concat('brand-', toString(number % 5)),
    {date:Date},
    sessions, duration, toUInt32(duration * noise * 0.5), toUInt32(duration * (1.2 + noise)), toFloat32(duration * 0.4 * luck),
    toFloat32(pages * 2.5), pages, toFloat32(1 + 4 * taste), toFloat32(if(mood < 0.05, 0, pages * 0.7)), toFloat32(pages * 0.2 * noise),
    toFloat32(noise * loyalty), toFloat32(noise * 0.3), toUInt16(loyalty > 0.6), toUInt16(sessions * luck * 0.2),
    engagement, least(100, engagement + 20 * noise), greatest(0, engagement - 20 * luck), toUInt8(loyalty > 0.6), toFloat32(loyalty > 0.6) / sessions,
    concat('brand-', toString(number % 5)),
    concat('category-', toString(toUInt8(12 * taste * taste))),
    ['mobile', 'desktop', 'tablet', ''][1 + sipHash64(number, 6) % 4],
    ['ios', 'android', 'windows', 'macos', 'linux'][1 + sipHash64(number, 7) % 5],
    ['safari', 'chrome', 'firefox', 'edge'][1 + sipHash64(number, 8) % 4],
    ['NO', 'SE', 'DK', 'FI', 'DE', 'GB'][1 + sipHash64(number, 9) % 6],
    concat('city-', toString(sipHash64(number, 10) % 20)),
    ['free', 'basic', 'premium'][1 + toUInt8(2.99 * loyalty)],
    ['casual', 'regular', 'fan', 'dormant'][1 + sipHash64(number, 11) % 4],
    {date:Date} - tenure + 1, {date:Date} - idle, greatest(1, least(sessions, toUInt16(tenure * 0.6 * loyalty))), idle,
    toUInt8(idle = 0), toUInt8(idle < 7), 1
FROM numbers({rows:UInt64})
