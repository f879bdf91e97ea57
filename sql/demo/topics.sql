-- grain: none of its own; lambdas for a WITH over a reader of demo_truth
-- process: an article that the reader opens is of the favourite topic, the second topic (more at weekends), or any.
--     Before a turn the reader avoids the favourite topic (see visits.sql)
-- drawn: the topic that a uniform value u draws; chosen: the probability of a topic
is_weekend -> is_weekend ? 0.35 : 0.15 AS of_second,
(u, is_weekend, turns) -> toUInt8(multiIf(
    u < of_second(is_weekend), second_topic,
    turns, (topic + 1 + floor(7 * (u - of_second(is_weekend)) / (1 - of_second(is_weekend)))) % 8,
    u < 0.8, topic,
    least(7, floor(8 * (u - 0.8) / 0.2)))) AS drawn,
(of_topic, is_weekend, turns) -> of_second(is_weekend) * (of_topic = second_topic)
    + if(turns, (1 - of_second(is_weekend)) / 7 * (of_topic != topic), (0.8 - of_second(is_weekend)) * (of_topic = topic) + 0.2 / 8) AS chosen
