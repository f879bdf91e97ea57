-- grain: (article_id), every article of the demo with the topic of the article beside it
SELECT
    article.article_id AS article_id,
    article.brand AS article_brand,
    article.day AS article_day,
    article.topic AS article_topic,
    article.quality AS quality,
    beside.topic AS beside_topic
FROM demo_articles AS article
INNER JOIN demo_articles AS beside
    ON beside.brand = article.brand AND beside.day = article.day AND beside.slot = bitXor(article.slot, 1)
