-- grain: (company_id, brand_id, user_id), one row of the snapshot
-- parameters: date Date (the snapshot), brand String, limit UInt64 (each if its placeholder needs it)
-- placeholders: brand (a predicate or 1), limit (a LIMIT clause or nothing)
-- units: durations in seconds, engagement as the publisher scores it (demo: points of 100), rates from 0 to 1
SELECT
    company_id,
    brand_id,
    user_id,
    feature_date,
    {include:shared/session_measures.sql},
    preferred_brand_id,
    preferred_category_id,
    preferred_device_type_id,
    preferred_os_id,
    preferred_browser_id,
    primary_country_code,
    primary_city_id,
    current_subscription_tier,
    current_user_segment,
    first_session_date,
    last_session_date,
    days_active,
    days_since_last_session,
    active_today,
    active_last_7_days,
    active_last_30_days,
    churn_risk_score,
    churn_probability,
    ml_features
FROM customer_user_features
PREWHERE feature_date = {date:Date} AND {brand}
ORDER BY total_sessions DESC, company_id, brand_id, user_id
{limit}
