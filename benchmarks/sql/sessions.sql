-- grain: one session per returning user, in the 30 days after a snapshot
-- parameters: date Date (the snapshot)
-- The odds of a return depend on the features, so a model can learn them and its trees have realistic sizes.
INSERT INTO customer_sessions (session_id, user_id, company_id, brand_id, session_start, session_end)
WITH
    1.5 - 0.18 * days_since_last_session + 0.02 * avg_engagement_score + 0.15 * least(total_sessions, 20)
        - 1.5 * (current_subscription_tier = 'free') - 0.004 * avg_session_duration_sec AS odds,
    (sipHash64(user_feature_id, 'back') + 1) / 18446744073709551617 AS chance,
    toDateTime({date:Date} + 1 + sipHash64(user_feature_id, 'day') % 29, 'UTC') + INTERVAL 12 HOUR AS at
SELECT user_feature_id, user_id, company_id, brand_id, at, at + INTERVAL 5 MINUTE
FROM customer_user_features
WHERE feature_date = {date:Date} AND chance < 1 / (1 + exp(-odds))
