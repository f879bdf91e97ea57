-- grain: one row; NULL when there is no snapshot
SELECT if(count() = 0, NULL, max(feature_date)) FROM customer_user_features
