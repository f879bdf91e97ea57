-- grain: none of its own; expressions for a WITH over a reader of demo_truth and an article of demo_articles, with its columns as article_topic and article_day
-- parameters: date Date, until Date (the days after date, up to until)
-- visiting, passing: by day, the probability of a visit, and that a session of that day does not open the article
-- absent: the probability that an event does not happen on a day, from the probabilities of a visit, of a second session, and of its absence in a session
-- process: as in sessions.sql. A session opens 1 to 8 articles, each of a topic that topics.sql draws, from today or a recent day
{include:demo/visits.sql},
{include:demo/topics.sql},
(SELECT groupArray((toUInt16(day), weight, weekend_weight, drifted)) FROM demo_days WHERE day > {date:Date} AND day <= {until:Date}) AS days,
lag -> multiIf(lag < 0 OR lag > 13, 0., lag = 13, exp(-6.5), exp(-lag / 2) - exp(-(lag + 1) / 2)) AS reaching,
(hit, depth) -> arraySum(n -> (exp(-n / depth) - (n < 7 ? exp(-(n + 1) / depth) : 0)) * pow(1 - hit, n + 1), range(8)) AS missing,
(visit, repeat, missed) -> 1 - visit * (1 - missed * (1 - repeat * (1 - missed))) AS absent,
arrayMap((day, weight) -> 1 - exp(-visits(day, weight)), days.1, weekend_reader ? days.3 : days.2) AS visiting,
arrayMap(day -> missing(
    reaching(toInt32(day) - toInt32(toUInt16(article_day))) * chosen(article_topic, toDayOfWeek(toDate(day)) > 5, turning(day)),
    0.5 + exp(0.4 * interest)), days.1) AS passing
