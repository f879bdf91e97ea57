-- grain: (company_id, brand_id, user_id), readers with a history at the end of date who read a new article in (date, until]
-- parameters: date Date (the last known day), until Date (the last day of the articles to predict), days UInt16 (of history), length UInt16 (of a list)
-- wanted: the articles published by the end of date that the reader read in (date, until] and not before
-- articles: the `length` unread articles with the highest true probability that the content platform sees the reader open them in (date, until],
--     given all latent values: no list of this length contains more of `wanted` on average. The same list counts as the highest NDCG, which
--     it is except for the little that the number of a reader's articles reveals about their choice
SELECT
    company_id,
    brand_id,
    user_id,
    arrayMap(ranked -> ranked.2, arraySlice(arraySort(groupArray((-score, article_id))), 1, {length:UInt16})) AS articles,
    any(scored.wanted) AS wanted
FROM
(
    WITH {include:demo/reading.sql}
    SELECT
        company_id,
        brand_id,
        user_id,
        article_id,
        wanted,
        -- The platform does not know the reader of one session in thirty.
        1 - arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, 1 - 29 / 30 * (1 - missed)), visiting, passing)) AS score
    FROM
    (
        SELECT
            brand_id,
            user_id,
            groupUniqArrayIf(article_id, event_timestamp < toDateTime({date:Date} + 1, 'UTC')) AS known,
            groupUniqArrayIf(article_id, event_timestamp >= toDateTime({date:Date} + 1, 'UTC')
                AND article_id IN (SELECT article_id FROM demo_articles WHERE day <= {date:Date})) AS later,
            arraySort(arrayFilter(article -> NOT has(known, article), later)) AS wanted
        FROM editorial_content_events
        WHERE event_timestamp >= toDateTime({date:Date} + 1 - {days:UInt16}, 'UTC')
            AND event_timestamp < toDateTime({until:Date} + 1, 'UTC') AND user_id != ''
        GROUP BY brand_id, user_id
        HAVING notEmpty(known) AND notEmpty(wanted)
    ) AS history
    INNER JOIN demo_truth AS reader USING (brand_id, user_id)
    INNER JOIN (SELECT article_id, brand AS article_brand, day AS article_day, topic AS article_topic FROM demo_articles) AS article ON article.article_brand = reader.brand
    WHERE article_day <= {date:Date} AND NOT has(known, article_id)
) AS scored
GROUP BY company_id, brand_id, user_id
