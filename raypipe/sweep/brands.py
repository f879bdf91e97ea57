"""Restrict a sweep to the entities of one brand."""

from collections.abc import Sequence
from dataclasses import replace

from raypipe.clickhouse.client import Client
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, UsageError
from raypipe.fit.recipe import Recipe

BRAND = "brand_id"


def for_brand(client: Client, recipe: Recipe, brand: str) -> Recipe:
    """Return the recipe for the entities of a brand, given its id, name or code.

    Raises:
        ConfigError: the entities have no brand.
        UsageError: no brand, or more than one, has this name.
    """
    if BRAND not in recipe.keys:
        raise ConfigError(
            f"{recipe.pipeline} cannot be swept by brand",
            found=f"entity.keys without {BRAND}",
            next_step="remove the brands from the matrix",
        )
    bound = {"brand": _brand_id(client, recipe, brand)}
    text = f"SELECT * FROM (\n{recipe.features_sql.text}\n) AS everyone WHERE toString({BRAND}) = {{brand:String}}"
    return replace(
        recipe,
        features_sql=replace(recipe.features_sql, text=text),
        snapshots=tuple(replace(item, parameters={**item.parameters, **bound}) for item in recipe.snapshots),
        # A version keeps its parameters, so that it is compared on the rows of its brand.
        parameters={**recipe.parameters, **bound},
    )


def _brand_id(client: Client, recipe: Recipe, brand: str) -> str:
    features, parameters = unsliced(recipe.features_sql.text), recipe.snapshots[-1].parameters
    rows = client.rows(f"SELECT DISTINCT toString({BRAND}) AS brand FROM (\n{features}\n) ORDER BY brand", parameters)
    named: list[tuple[str, ...]] = []
    if client.value("EXISTS TABLE brands"):
        listed = client.rows("SELECT toString(brand_id), brand_name, brand_code FROM brands FINAL ORDER BY brand_name")
        named = [tuple(map(str, row)) for row in listed]
    return brand_called(brand, [str(row[0]) for row in rows], named, recipe.pipeline)


def brand_called(brand: str, known: Sequence[str], named: Sequence[tuple[str, ...]], pipeline: str) -> str:
    """Return the id of a brand, given its id, name or code.

    Args:
        known: the ids of the brands with entities.
        named: the id, the name and the code of each brand.

    Raises:
        UsageError: no brand, or more than one, has this name.
    """
    if brand in known:
        return brand
    words_of = {brand_id: [word for word in words if word] for brand_id, *words in named if brand_id in known}
    matches = sorted(brand_id for brand_id, words in words_of.items() if brand in words)
    if len(matches) != 1:
        every = [word for words in words_of.values() for word in words]
        raise UsageError(
            f"{pipeline} has {'several brands' if matches else 'no entity of the brand'}",
            found=repr(brand),
            allowed=", ".join(matches or every or known) or "none",
            next_step="write the id, the name or the code of a brand that the pipeline reads",
        )
    return matches[0]
