-- grain: none of its own; lambdas for a WITH over a reader of demo_truth
-- pays: whether the reader pays on a day (days since 1970)
-- turned: days since the reader's last turn. In the three weeks before a turn the reader avoids the favourite topic; a reader who pays then
--     stays away for 40 days, and a reader on the free tier goes on as before
-- visits: the expected visits of a day with a weight: a visit happens with probability 1 - exp(-visits)
-- desk: readers of little loyalty come for good articles, and leave four weeks after the articles of their topic were bad
{include:demo/desks.sql},
day -> initial_tier != 'free' OR (converted_on > toDate(0) AND toDate(day) >= converted_on) AS pays,
day -> (toUInt32(day) + turn_shift) % turn_every AS turned,
day -> turned(day) >= turn_every - 21 AS turning,
(day, weight) -> if(day < toUInt16(joined), 0., intensity * weight
    * exp(2 * desk(brand, topic, day - 28) / (1 + exp(1.5 * loyalty)))
    * (1 + 0.5 * season(topic, day))
    * multiIf(NOT pays(day), 1., turned(day) < 40, 0.05, 1.7)) AS visits
