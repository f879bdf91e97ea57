-- grain: customer_id
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of telco_customers)
-- units: charges in dollars, tenure in months
SELECT
    customer_id,
    tenure_months,
    monthly_charges,
    total_charges,
    senior_citizen,
    gender,
    partner,
    dependents,
    phone_service,
    multiple_lines,
    internet_service,
    online_security,
    online_backup,
    device_protection,
    tech_support,
    streaming_tv,
    streaming_movies,
    contract,
    paperless_billing,
    payment_method
FROM telco_customers
WHERE {slice}
