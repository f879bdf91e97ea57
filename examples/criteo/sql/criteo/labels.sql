-- grain: impression_id, the population of features.sql
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of ad_impressions)
-- label: 1 for a click
SELECT impression_id, click AS label
FROM ad_impressions
WHERE {slice}
