-- grain: (level, bucket), the predictions with the same level, of a thousandth of the entities by hash
-- parameters: as in outcomes.sql
-- placeholders: outcomes (outcomes.sql)
-- units: of the label; missing counts predictions without an outcome
SELECT
    level,
    toUInt16(sipHash64(entity) % 1000) AS bucket,
    countIf(isNotNull(label)) AS rows,
    countIf(isNull(label)) AS missing,
    sumIf(score, isNotNull(label)) AS scores,
    sum(ifNull(label, 0)) AS labels,
    sum(ifNull(label * label, 0)) AS label_squares,
    sum(ifNull(pow(score - label, 2), 0)) AS squares,
    sum(ifNull(abs(score - label), 0)) AS distances
FROM ({outcomes})
GROUP BY level, bucket
