-- grain: wine_id
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of wines)
-- units: a chemical analysis; alcohol in % by volume
SELECT
    wine_id,
    alcohol,
    malic_acid,
    ash,
    alcalinity_of_ash,
    magnesium,
    total_phenols,
    flavanoids,
    nonflavanoid_phenols,
    proanthocyanins,
    color_intensity,
    hue,
    od280_od315,
    proline
FROM wines
WHERE {slice}
