-- grain: one number of a segment, over all brands, by its newest row of each brand
-- units: averages weighted by readers
SELECT
    cluster_number,
    argMax(segment_name, updated_at) AS name,
    argMax(description, updated_at) AS description,
    sumIf(user_count, is_active = 1) AS readers,
    sumIf(avg_engagement_score * user_count, is_active = 1) / greatest(sumIf(user_count, is_active = 1), 1) AS engagement,
    sumIf(avg_sessions * user_count, is_active = 1) / greatest(sumIf(user_count, is_active = 1), 1) AS sessions,
    sumIf(newsletter_signup_rate * user_count, is_active = 1) / greatest(sumIf(user_count, is_active = 1), 1) AS newsletter
FROM customer_user_segments FINAL
GROUP BY cluster_number
ORDER BY readers DESC, cluster_number
