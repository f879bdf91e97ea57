-- grain: one row; NULL without a snapshot
SELECT if(count() = 0, NULL, max(feature_date)) FROM customer_user_features
