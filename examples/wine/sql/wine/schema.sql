-- grain: wine_id
-- parameters: none
-- units: a chemical analysis; alcohol in % by volume
CREATE TABLE wines
(
    wine_id UInt32,
    alcohol Float64,
    malic_acid Float64,
    ash Float64,
    alcalinity_of_ash Float64,
    magnesium Float64,
    total_phenols Float64,
    flavanoids Float64,
    nonflavanoid_phenols Float64,
    proanthocyanins Float64,
    color_intensity Float64,
    hue Float64,
    od280_od315 Float64,
    proline Float64,
    cultivar LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY wine_id
