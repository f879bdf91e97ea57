-- grain: (entity, slice), a prediction in each of its slices, and its outcome
-- parameters: date Date, and the parameters of outcomes
-- placeholders: outcomes (outcomes.sql or unknown.sql), keys (the entity key as text), slices (an array of tuples: column and value),
--     source, date_column (the table of the population, and its date), most (the number of slices, the largest)
SELECT score, entity, label, arrayJoin(memberships) AS slice
FROM
(
    SELECT outcome.entity AS entity, outcome.score AS score, outcome.label AS label, member.slices AS memberships
    FROM ({outcomes}) AS outcome
    ANY LEFT JOIN (
        SELECT murmurHash3_128({keys}) AS entity, {slices} AS slices
        FROM {source}
        WHERE {date_column} = {date:Date}
    ) AS member ON member.entity = outcome.entity
)
WHERE slice IN (
    SELECT arrayJoin({slices}) AS slice
    FROM {source}
    WHERE {date_column} = {date:Date}
    GROUP BY slice
    ORDER BY count() DESC, slice
    LIMIT {most}
)
