-- grain: customer_id, the number of the row in the file
-- parameters: none
-- units: spending in monetary units per year
CREATE TABLE wholesale_customers
(
    customer_id UInt32,
    channel UInt8,
    region UInt8,
    fresh Float64,
    milk Float64,
    grocery Float64,
    frozen Float64,
    detergents_paper Float64,
    delicatessen Float64
)
ENGINE = MergeTree
ORDER BY customer_id
