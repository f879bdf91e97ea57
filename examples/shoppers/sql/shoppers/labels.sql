-- grain: session_id, the population of features.sql
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of shopper_sessions)
-- label: 1 when the session ended with a purchase
SELECT session_id, revenue AS label
FROM shopper_sessions
WHERE {slice}
