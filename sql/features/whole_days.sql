-- grain: feature_date, the days with rows that all have ml_features
-- parameters: first Date, last Date (the days to look at, both included)
-- placeholders: features (customer_user_features)
SELECT feature_date
FROM {features}
WHERE feature_date BETWEEN {first:Date} AND {last:Date}
GROUP BY feature_date
HAVING countIf(ml_features IN ('', '{}')) = 0
ORDER BY feature_date
