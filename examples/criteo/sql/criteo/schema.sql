-- grain: impression_id
-- parameters: none
-- units: i1 to i13 are counts, c1 to c26 hashed categories; their meaning is not published
CREATE TABLE ad_impressions
(
    impression_id UInt32,
    click UInt8,
    i1 Nullable(Float64),
    i2 Nullable(Float64),
    i3 Nullable(Float64),
    i4 Nullable(Float64),
    i5 Nullable(Float64),
    i6 Nullable(Float64),
    i7 Nullable(Float64),
    i8 Nullable(Float64),
    i9 Nullable(Float64),
    i10 Nullable(Float64),
    i11 Nullable(Float64),
    i12 Nullable(Float64),
    i13 Nullable(Float64),
    c1 Nullable(String),
    c2 Nullable(String),
    c3 Nullable(String),
    c4 Nullable(String),
    c5 Nullable(String),
    c6 Nullable(String),
    c7 Nullable(String),
    c8 Nullable(String),
    c9 Nullable(String),
    c10 Nullable(String),
    c11 Nullable(String),
    c12 Nullable(String),
    c13 Nullable(String),
    c14 Nullable(String),
    c15 Nullable(String),
    c16 Nullable(String),
    c17 Nullable(String),
    c18 Nullable(String),
    c19 Nullable(String),
    c20 Nullable(String),
    c21 Nullable(String),
    c22 Nullable(String),
    c23 Nullable(String),
    c24 Nullable(String),
    c25 Nullable(String),
    c26 Nullable(String)
)
ENGINE = MergeTree
ORDER BY impression_id
