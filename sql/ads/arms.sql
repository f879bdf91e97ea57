-- grain: (context, arm, part, bucket, problem), the ad events of the days since <= day < until
-- parameters: since Date, until Date, split Date (the first day of the test part), timezone String (of those days), context Array(String) (of company, brand, device, category), impression String, click String (the event types), buckets UInt32
-- units: revenue in the events' currency; propensities from 0 to 1
-- problem: '' for a usable event, else the reason, with arm ''
-- bucket: a hash of the reader, so that all events of a reader share a bucket; for an anonymous reader, of the session
-- readers: known readers, as a state that merges over parts; an anonymous reader counts only for the arm
-- why decimals: sums are the same in any order, so that the same events give the same model; 12 digits, since a revenue of a thousandth has a square of a millionth
SELECT
    arrayStringConcat(
        arrayMap(name -> [company, brand, device, category][indexOf(['company', 'brand', 'device', 'category'], name)], {context:Array(String)}),
        '/') AS context,
    company AS company_id,
    brand AS brand_id,
    device AS device_type_id,
    category AS category_id,
    multiIf(
        ad.arm != '' AND NOT not_a_number AND earned >= 0 AND earned <= 1000000, '',
        isNull(ad.arm) AND NOT isValidJSON(metadata), 'broken JSON',
        ifNull(ad.arm, '') = '', 'no arm',
        not_a_number, 'revenue is not a number',
        'revenue out of range') AS problem,
    problem = '' ? assumeNotNull(ad.arm) : '' AS arm,
    in_test ? 'test' : 'train' AS part,
    bucket,
    count() AS events,
    countIf(is_impression) AS impressions,
    countIf(NOT is_impression) AS clicks,
    uniqExactIfState(user_id, user_id != '') AS readers,
    toFloat64(sum(toDecimal128(gain, 12))) AS revenue,
    toFloat64(sum(toDecimal128(gain * gain, 12))) AS revenue_squares,
    countIf(propensity = 0 AND (is_impression OR gain > 0)) AS without_propensity,
    toFloat64(sumIf(toDecimal128(weight, 12), is_impression)) AS inverse,
    toFloat64(sumIf(toDecimal128(weight * weight, 12), is_impression)) AS inverse_squares,
    toFloat64(sum(toDecimal128(gain * weight, 12))) AS weighted_revenue
FROM
(
    SELECT
        has({context:Array(String)}, 'company') ? event.company_id : '' AS company,
        has({context:Array(String)}, 'brand') ? event.brand_id : '' AS brand,
        has({context:Array(String)}, 'device') ? event.device_type_id : '' AS device,
        has({context:Array(String)}, 'category') ? article.of_article : '' AS category,
        event.user_id AS user_id,
        event.metadata AS metadata,
        event.event_type = {impression:String} AS is_impression,
        event.event_timestamp >= toDateTime({split:Date}, {timezone:String}) AS in_test,
        cityHash64(multiIf(user_id != '', user_id, event.session_id != '', event.session_id, event.event_id)) % {buckets:UInt32} AS bucket,
        -- JSONExtract would take the elements of an array in turn.
        JSONExtract(match(metadata, '^\\s*\\{') ? metadata : '', 'Tuple(arm Nullable(String), propensity Nullable(Float64), revenue Nullable(Float64))') AS ad,
        ifNull(ad.revenue, 0) AS earned,
        NOT is_impression AND isNull(ad.revenue) AND JSONType(metadata, 'revenue') != 'Null' AS not_a_number,
        -- An impression's revenue is only a promise; its click earns it.
        NOT is_impression AND earned >= 0 AND earned <= 1000000 ? earned : 0 AS gain,
        ifNull(ad.propensity >= 0.000001 AND ad.propensity <= 1, 0) ? assumeNotNull(ad.propensity) : 0 AS propensity,
        propensity > 0 ? 1 / propensity : 0 AS weight
    FROM customer_events AS event
    ANY LEFT JOIN
    (
        SELECT article_id AS opened, primary_category_id AS of_article
        FROM editorial_articles FINAL
        WHERE has({context:Array(String)}, 'category')
    ) AS article ON article.opened = event.article_id
    WHERE event.event_timestamp >= toDateTime({since:Date}, {timezone:String})
        AND event.event_timestamp < toDateTime({until:Date}, {timezone:String})
        AND event.event_type IN ({impression:String}, {click:String})
)
GROUP BY context, company_id, brand_id, device_type_id, category_id, problem, arm, part, bucket
