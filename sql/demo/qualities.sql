-- grain: none of its own; lambdas for a WITH over an article's brand_key (a hash of seed and brand), brand and code (day * 8 + topic)
-- quality: a standard normal value, of the author's talent, the desk's level on the day, and chance
(of_brand, code) -> toUInt8(floor(uniform(cityHash64(of_brand, toUInt32(code)), 3) * 12)) AS author_of,
(of_brand, code) -> toUInt8(floor(uniform(cityHash64(of_brand, toUInt32(code)), 4) * 4)) AS type_of,
(of_brand, number, code) -> 0.6 * normal(cityHash64(of_brand, 'talent', author_of(of_brand, code)), 2)
    + 0.9 * desk(number, code % 8, intDiv(code, 8)) + 0.5 * normal(cityHash64(of_brand, toUInt32(code)), 5) AS quality_of
