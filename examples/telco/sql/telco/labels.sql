-- grain: customer_id, the population of features.sql
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of telco_customers)
-- label: 1 when the customer has left
SELECT
    customer_id,
    toUInt8(churn = 'Yes') AS label
FROM telco_customers
WHERE {slice}
