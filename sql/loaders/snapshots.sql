-- grain: feature_date, the snapshots nearest to a date
-- parameters: date Date, count UInt8
SELECT feature_date
FROM customer_user_features
GROUP BY feature_date
ORDER BY abs(toInt64(feature_date) - toInt64({date:Date})), feature_date
LIMIT {count:UInt8}
