"""Test that a brand is looked up in the newest snapshot."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_pipeline
from raypipe.fit.recipe import recipe_of
from raypipe.project import shipped
from raypipe.sweep.brands import for_brand


def test_a_brand_that_the_oldest_snapshot_lacks_can_be_swept(publisher: Endpoint) -> None:
    with Client(publisher) as client:
        recipe = recipe_of(client, load_pipeline("churn", shipped() / "configs", environ={}), None)
        oldest, *later = recipe.snapshots
        before = replace(oldest, parameters={**oldest.parameters, "date": date(2020, 1, 1)})
        swept = for_brand(client, replace(recipe, snapshots=(before, *later)), "Money Daily")
    assert swept.parameters["brand"]
