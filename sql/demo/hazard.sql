-- grain: none of its own; lambdas for a WITH over a reader of demo_truth
-- hazard: of a conversion on a day (days since 1970); it rises two weeks after the articles of the reader's topic were good
{include:demo/desks.sql},
day -> if(day < toUInt16(joined), 0., conversion_hazard * exp(1.2 * desk(brand, topic, day - 14))) AS hazard
