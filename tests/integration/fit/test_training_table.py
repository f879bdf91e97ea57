"""Test that a table that cannot be dropped does not hide the error before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_pipeline
from raypipe.errors import ServerError
from raypipe.fit.recipe import frozen, recipe_of
from raypipe.fit.training_table import scratch_name, written
from raypipe.project import shipped
from tests.faults.proxy import Rule, exception, proxied


def test_the_error_of_a_fit_is_not_hidden_by_a_table_that_could_not_be_dropped(publisher: Endpoint) -> None:
    name = scratch_name("churn")
    with proxied(publisher.url) as between, Client(replace(publisher, url=between.url)) as client:
        recipe = recipe_of(client, load_pipeline("churn", shipped() / "configs", environ={}), None)
        contract = frozen(client, recipe)
        between.add(Rule(f"INSERT INTO `{name}`".encode(), "answer", answer=exception(241, "MEMORY_LIMIT_EXCEEDED")))
        between.add(Rule(f"DROP TABLE IF EXISTS `{name}`".encode(), "answer", answer=exception(497, "ACCESS_DENIED")))
        with (
            pytest.raises(ServerError, match="MEMORY_LIMIT_EXCEEDED"),
            written(client, recipe, contract, name),
        ):
            pass
        client.run(f"DROP TABLE `{name}` SYNC")
