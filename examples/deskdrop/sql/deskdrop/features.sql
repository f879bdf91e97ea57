-- grain: reader_id, every reader with the articles read, the latest first
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of deskdrop_interactions)
-- units: read_weights as in interactions.sql, in the order of read_articles
SELECT
    reader_id,
    arrayReverseSort(groupArray((last_at, article_id, weight))) AS latest,
    latest.2 AS read_articles,
    latest.3 AS read_weights,
    toUInt32(length(read_articles)) AS articles_read
FROM
(
    SELECT reader_id, article_id, toFloat32(count()) AS weight, max(at) AS last_at
    FROM deskdrop_interactions
    WHERE {slice}
    GROUP BY reader_id, article_id
)
GROUP BY reader_id
