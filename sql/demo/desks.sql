-- grain: none of its own; lambdas for a WITH
-- desk: how good a brand's articles of a topic are on a day (days since 1970), from -1 to 1; the eight desks of a brand always add up to 0
-- season: the demand for a topic on a day, from -1 to 1; the eight topics always add up to 0, so that a brand's traffic has no season
(brand, topic, day) -> sin(2 * pi() * (day / 75 + (3 * topic + brand / 5) / 8)) AS desk,
(topic, day) -> cos(2 * pi() * (day / 84 + topic / 8)) AS season
