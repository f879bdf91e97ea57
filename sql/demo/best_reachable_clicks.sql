-- grain: (company_id, brand_id, user_id, article_id), the articles published by the end of date that a reader saw in (date, until]
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- score: the true probability of a click in (date, until] on an article that is seen then, given all latent values; no model can
--     rank better. The number of views and their screens are unknown beforehand, so each counts by its probability
WITH
    {include:demo/reading.sql},
    {include:demo/clicking.sql},
    -- A session is on the reader's own screen or on any, and after a drift often on a mobile.
    (screen, drift) -> (drift ? 0.65 : 1) * ((screen = device) * 0.85 + 0.05) + (drift AND screen = 1 ? 0.35 : 0) AS shown_on,
    arrayMap(screen -> click(article_topic, quality, author, type, screen), [1, 2, 3]) AS clicks,
    arrayMap(drift -> arraySum((screen, clicked) -> shown_on(screen, drift) * clicked, [1, 2, 3], clicks), days.4) AS clicking,
    arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, missed), visiting, passing)) AS unseen,
    arrayProduct(arrayMap((visit, missed, clicked) -> absent(visit, repeat_rate, 1 - clicked * (1 - missed)), visiting, passing, clicking)) AS unclicked
SELECT
    company_id,
    brand_id,
    user_id,
    article_id,
    (1 - unclicked) / (1 - unseen) AS score
FROM
(
    SELECT DISTINCT company_id, brand_id, user_id, article_id
    FROM customer_events
    WHERE event_type = 'article_view' AND event_timestamp >= toDateTime({date:Date} + 1, 'UTC')
        AND event_timestamp < toDateTime({until:Date} + 1, 'UTC')
) AS seen
INNER JOIN demo_truth AS reader USING (company_id, brand_id, user_id)
INNER JOIN
(
    SELECT article_id, day AS article_day, topic AS article_topic, author, type, quality
    FROM demo_articles
    WHERE day <= {date:Date}
) AS article USING (article_id)
