-- grain: (day, number of a segment), the readers of the committed runs
-- parameters: first Date
SELECT assigned.assignment_date AS day, segment.cluster_number AS cluster_number, sum(assigned.readers) AS members
FROM
(
    SELECT assignment_date, segment_id, count() AS readers
    FROM raypipe_current_customer_user_segment_assignments
    WHERE assignment_date >= {first:Date}
    GROUP BY assignment_date, segment_id
) AS assigned
ANY LEFT JOIN (SELECT segment_id AS id, cluster_number FROM customer_user_segments FINAL) AS segment ON segment.id = assigned.segment_id
GROUP BY day, cluster_number
ORDER BY day, cluster_number
