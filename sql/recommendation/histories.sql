-- grain: (company_id, brand_id, user_id), every user of the day's snapshot with what each read, the latest first
-- parameters: date Date (the snapshot, and the last day of the histories), days UInt16 (length of the window), longest UInt32 (articles of a history, the latest; what is left out may be recommended again), event_types Array(String), event_weights Array(Float64), half_life_days Float64 (as in interactions.sql, whose weights these are), timezone String (of the days)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- units: weights as in interactions.sql, in the order of articles
-- missing: both arrays are empty for a user who read nothing; category_id is '' where no category is preferred
SELECT
    company_id,
    brand_id,
    user_id,
    preferred_category_id AS category_id,
    history.articles AS articles,
    history.weights AS weights
FROM customer_user_features
ANY LEFT JOIN
(
    SELECT
        brand_id AS brand,
        user_id AS user,
        arraySlice(arrayReverseSort(groupArray((last_at, article_id, weight))), 1, {longest:UInt32}) AS latest,
        latest.2 AS articles,
        latest.3 AS weights
    FROM
    (
        SELECT
            brand_id,
            user_id,
            article_id,
            toFloat32(sum(
                transform(event_type, {event_types:Array(String)}, {event_weights:Array(Float64)}, 0.)
                * if({half_life_days:Float64} = 0, 1., exp2((toInt64(event_timestamp) - toInt64(toDateTime({date:Date} + 1, {timezone:String}))) / (86400 * {half_life_days:Float64})))
            )) AS weight,
            max(event_timestamp) AS last_at
        FROM editorial_content_events
        PREWHERE event_timestamp >= toDateTime({date:Date} + 1 - {days:UInt16}, {timezone:String})
            AND event_timestamp < toDateTime({date:Date} + 1, {timezone:String})
        WHERE user_id != '' AND article_id != '' AND event_type IN {event_types:Array(String)}
        GROUP BY brand_id, user_id, article_id
    )
    GROUP BY brand_id, user_id
) AS history ON history.brand = customer_user_features.brand_id AND history.user = customer_user_features.user_id
WHERE feature_date = {date:Date} AND {slice}
