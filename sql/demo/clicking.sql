-- grain: none of its own; lambdas for a WITH over a reader of demo_truth
-- click: the probability that a reader clicks on an article that is seen on a screen (1 mobile, 2 desktop, 3 tablet). Of favourite topics
--     the reader clicks on almost anything, of others only on what is good. Videos are for mobiles, analyses for desktops, features for tablets
(topic_of, quality_of, author_of, type_of, screen_of) -> 1 / (1 + exp(1.9 - 1.6 * (topic_of = topic) - 0.8 * (topic_of = second_topic)
    - (topic_of = topic OR topic_of = second_topic ? 0.3 : 1.1) * quality_of - (author_of = favourite_author)
    - [0.2, -1.0, 1.0, -0.2, 0.0, 1.0, -1.0, 0.2, 0.0, 0.0, 0.0, 1.0][(screen_of - 1) * 4 + type_of + 1])) AS click
