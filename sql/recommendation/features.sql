-- grain: (company_id, brand_id, user_id), every user of the day's snapshot with the articles read, the latest first
-- parameters: date Date (the snapshot, and the last day of the histories), days UInt16 (length of the window), longest UInt32 (the maximum length of a history, the latest articles; others may be recommended again), event_types Array(String), event_weights Array(Float64), half_life_days Float64 (as in interactions.sql), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- units: read_weights as in interactions.sql, in the order of read_articles; days_since_read in days
-- missing: both arrays are empty for a user who read nothing, and days_since_read is NULL; category_id is '' without a preferred category
-- matrix: articles_read, weight_read and days_since_read serve the drift; the model reads the histories themselves
SELECT
    company_id,
    brand_id,
    user_id,
    preferred_category_id AS category_id,
    history.articles AS read_articles,
    history.weights AS read_weights,
    toUInt32(length(read_articles)) AS articles_read,
    toFloat32(arraySum(read_weights)) AS weight_read,
    if(articles_read = 0, NULL, toUInt32({date:Date} - toDate(history.newest_at, {timezone:String}))) AS days_since_read
FROM customer_user_features
ANY LEFT JOIN
(
    SELECT
        brand_id AS brand,
        user_id AS user,
        arraySlice(arrayReverseSort(groupArray((last_at, article_id, weight))), 1, {longest:UInt32}) AS latest,
        latest.2 AS articles,
        latest.3 AS weights,
        (latest.1)[1] AS newest_at
    FROM ({include:recommendation/weights.sql})
    GROUP BY brand_id, user_id
) AS history ON history.brand = customer_user_features.brand_id AND history.user = customer_user_features.user_id
WHERE feature_date = {date:Date} AND {slice}
