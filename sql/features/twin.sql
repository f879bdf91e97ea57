-- grain: one row, the number of rows and of distinct keys
-- placeholders: twin (the table)
SELECT count(), uniqExact(murmurHash3_128(company_id, brand_id, user_id)) FROM {twin}
