-- grain: hour_id, the population of features.sql
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of bike_hours)
-- label: rentals of the hour
SELECT hour_id, rentals AS label
FROM bike_hours
WHERE {slice}
