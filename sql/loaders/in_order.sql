-- grain: as {features}, the most frequent readers first; joins promise no order
-- placeholders: features (a SELECT with the columns of user_features.sql)
SELECT * FROM ({features}) ORDER BY total_sessions DESC, company_id, brand_id, user_id
