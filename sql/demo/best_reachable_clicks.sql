-- grain: (company_id, brand_id, user_id, article_id), the articles published by the end of date that a reader saw in (date, until]
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- score: the true probability of a click in (date, until] on an article that is seen then, given all latent values; no model can
--     rank better. The number of views is unknown beforehand, so each number counts by its probability
WITH
    {include:demo/reading.sql},
    1 / (1 + exp(1.2 - 1.2 * (article_topic = topic) - 0.6 * (article_topic = second_topic) - 0.5 * quality)) AS clicking,
    arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, missed), visiting, passing)) AS unseen,
    arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, 1 - clicking * (1 - missed)), visiting, passing)) AS unclicked
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
INNER JOIN ({include:demo/paired_articles.sql}) AS article USING (article_id)
WHERE article_day <= {date:Date}
