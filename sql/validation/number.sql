-- grain: (slice, level, bucket), the predictions with the same slice and level, of a share of the entities by hash
-- parameters: as in outcomes.sql
-- placeholders: outcomes (outcomes.sql or sliced.sql), slice_column, slice_value, level (expressions), buckets (their number)
-- units: of the label; missing counts predictions without an outcome
SELECT
    {slice_column} AS slice_column,
    {slice_value} AS slice_value,
    {level} AS level,
    toUInt16(sipHash64(entity) % {buckets}) AS bucket,
    countIf(isNotNull(label)) AS rows,
    countIf(isNull(label)) AS missing,
    sumIf(score, isNotNull(label)) AS scores,
    sum(ifNull(label, 0)) AS labels,
    sum(ifNull(label * label, 0)) AS label_squares,
    sum(ifNull(pow(score - label, 2), 0)) AS squares,
    sum(ifNull(abs(score - label), 0)) AS distances
FROM ({outcomes})
GROUP BY slice_column, slice_value, level, bucket
