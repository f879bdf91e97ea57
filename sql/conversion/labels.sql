-- grain: (company_id, brand_id, user_id), every user with an account
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- label: 1 when a paid subscription began in (date, until]
SELECT
    company_id,
    brand_id,
    user_id,
    toUInt8(countIf(
        subscription_tier NOT IN ('free', '') AND subscription_start_date > {date:Date} AND subscription_start_date <= {until:Date}
    ) > 0) AS label
FROM user_accounts FINAL
GROUP BY company_id, brand_id, user_id
