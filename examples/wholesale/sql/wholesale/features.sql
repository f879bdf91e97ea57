-- grain: customer_id
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of wholesale_customers)
-- units: logarithms, ln(1 + yearly spending): a few customers spend a hundred times as much as others
SELECT
    customer_id,
    log1p(fresh) AS log_fresh,
    log1p(milk) AS log_milk,
    log1p(grocery) AS log_grocery,
    log1p(frozen) AS log_frozen,
    log1p(detergents_paper) AS log_detergents_paper,
    log1p(delicatessen) AS log_delicatessen
FROM wholesale_customers
WHERE {slice}
