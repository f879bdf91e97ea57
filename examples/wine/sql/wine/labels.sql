-- grain: wine_id, the population of features.sql
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of wines)
-- label: the name of the cultivar, one of label.classes
SELECT wine_id, cultivar AS label
FROM wines
WHERE {slice}
