-- grain: (company_id, brand_id, user_id), every row of demo_truth
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- units: score in points of 100
-- score: the expected mean engagement score of the sessions in (date, until], which is 0 without a session, given all latent values. The
--     remaining squared error is noise, and a model beats it only by luck. Exact except that the days count by their expected
--     visits, and for the few sessions below 0 or above 100
WITH
    {include:demo/visits.sql},
    {include:demo/topics.sql},
    {include:demo/engaged.sql},
    (SELECT groupArray((toUInt16(day), weight, weekend_weight, drifted, toDayOfWeek(day) > 5)) FROM demo_days WHERE day > {date:Date} AND day <= {until:Date}) AS days,
    arrayMap((day, weight) -> 1 - exp(-visits(day, weight)), days.1, weekend_reader ? days.3 : days.2) AS visiting,
    arrayMap(
        (day, drift, is_weekend, qualities) -> (drift ? 0.75 : 1) * engaged(is_weekend, pays(day) AND turning(day), chosen(topic, is_weekend, turning(day)),
            arraySum((quality, number) -> quality * chosen(number, is_weekend, turning(day)), qualities, range(8))),
        days.1, days.4, days.5, fresh) AS scores
SELECT
    company_id,
    brand_id,
    user_id,
    (1 - arrayProduct(visit -> 1 - visit, visiting)) * arraySum((visit, expected) -> visit * expected, visiting, scores) / greatest(1e-9, arraySum(visiting)) AS score
FROM demo_truth AS reader
INNER JOIN
(
    -- By day, the expected quality of an article of each topic: mostly of the day, or of the two weeks before.
    SELECT brand, groupArray(by_topic) AS fresh
    FROM
    (
        SELECT brand, read_on, groupArray(quality) AS by_topic
        FROM
        (
            SELECT brand, read.day AS read_on, topic, sum(quality * (lag = 13 ? exp(-6.5) : exp(-lag / 2) - exp(-(lag + 1) / 2))) AS quality
            FROM demo_articles AS article
            CROSS JOIN (SELECT day FROM demo_days WHERE day > {date:Date} AND day <= {until:Date}) AS read
            WHERE (read.day - article.day AS lag) BETWEEN 0 AND 13
            GROUP BY brand, read_on, topic
            ORDER BY brand, read_on, topic
        )
        GROUP BY brand, read_on
        ORDER BY brand, read_on
    )
    GROUP BY brand
) AS articles USING (brand)
