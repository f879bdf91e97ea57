-- grain: (reader_id, article_id), the articles of the readers who read at least five
-- parameters: none (the table has no snapshots)
-- units: weight is the number of events; last_interaction_at in seconds since 1970, which orders a reader's articles
SELECT
    reader_id,
    article_id,
    toFloat32(count()) AS weight,
    max(at) AS last_interaction_at
FROM deskdrop_interactions
WHERE reader_id IN (SELECT reader_id FROM deskdrop_interactions GROUP BY reader_id HAVING uniqExact(article_id) >= 5)
GROUP BY reader_id, article_id
