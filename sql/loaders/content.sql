-- grain: as {features}
-- parameters: since Date, until Date (the days since <= day < until), timezone String (of those days)
-- placeholders: features (a SELECT with company_id, brand_id, user_id), users (a predicate on user_id)
-- units: counts of distinct ids; avg_article_engagement in the points of engagement_score, NULL without articles; total_article_views in views
SELECT
    features.*,
    content.articles AS articles_viewed,
    content.engagement AS avg_article_engagement,
    content.views AS total_article_views,
    content.authors AS unique_authors_followed,
    content.categories AS categories_engaged
FROM ({features}) AS features
ANY LEFT JOIN (
    SELECT
        read.brand AS brand,
        read.user AS user,
        count() AS articles,
        avg(performance.engagement) AS engagement,
        sum(performance.views) AS views,
        any(read.authors) AS authors,
        any(read.categories) AS categories
    FROM (
        SELECT brand, user, authors, categories, article
        FROM (
            -- Ids are 64-bit hashes: twice as fast as the strings, and among a million articles two collide
            -- with probability 3e-8.
            SELECT
                brand_id AS brand,
                user_id AS user,
                groupUniqArray(sipHash64(brand_id, article_id)) AS articles,
                uniqExactIf(sipHash64(author_id), author_id != '') AS authors,
                uniqExactIf(sipHash64(category_id), category_id != '') AS categories
            FROM editorial_content_events
            PREWHERE event_timestamp >= toDateTime({since:Date}, {timezone:String})
                AND event_timestamp < toDateTime({until:Date}, {timezone:String})
                AND {users}
            WHERE article_id != ''
            GROUP BY brand_id, user_id
        )
        ARRAY JOIN articles AS article
    ) AS read
    ANY LEFT JOIN (
        -- The engine adds up engagement_score like a count, and only when it merges: the rows of a key are
        -- combined here, the score weighted by its views.
        SELECT
            sipHash64(brand_id, article_id) AS article,
            sum(total_views) AS views,
            sum(toFloat64(engagement_score) * total_views) / nullIf(sum(total_views), 0) AS engagement
        FROM editorial_article_performance
        PREWHERE performance_date >= {since:Date} AND performance_date < {until:Date}
        GROUP BY article
    ) AS performance ON performance.article = read.article
    GROUP BY brand, user
) AS content ON content.brand = features.brand_id AND content.user = features.user_id
