-- grain: (company_id, brand_id, user_id, article_id), the interactions of known readers with articles in the days up to date
-- parameters: date Date (the last day), days UInt16 (length of the window), event_types Array(String), event_weights Array(Float64) (the weight of each type; other types do not count), half_life_days Float64 (the weight of an event halves every half_life_days before the end of date; 0 for no decay), timezone String (of the days)
-- units: weight is a sum of decayed event weights; last_interaction_at in UTC
-- missing: anonymous readers (user_id '') and events without an article are left out; so are brands without a company
-- why: events have no company, but brands do; brands are read with FINAL and joined with ANY, because a key can occur twice
SELECT
    brand.company_id AS company_id,
    event.brand_id AS brand_id,
    event.user_id AS user_id,
    event.article_id AS article_id,
    event.weight AS weight,
    -- A DateTime would reach Arrow as a plain number.
    toDateTime64(event.last_at, 0, 'UTC') AS last_interaction_at
FROM ({include:recommendation/weights.sql}) AS event
ANY LEFT JOIN (SELECT brand_id AS id, company_id FROM brands FINAL) AS brand ON brand.id = event.brand_id
WHERE brand.company_id != ''
