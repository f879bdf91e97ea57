"""Test which features queries are copied first, and a copy that fails."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_pipeline
from raypipe.errors import ServerError
from raypipe.fit.recipe import frozen, recipe_of
from raypipe.project import shipped
from raypipe.score import prepare
from tests.factories import manifest
from tests.faults.proxy import Rule, exception, proxied


@pytest.mark.parametrize(("line", "copied"), [("-- no JOIN, no GROUP BY", False), ("GROUP BY ALL", True)])
def test_a_word_in_a_comment_copies_nothing(publisher: Endpoint, tmp_path: Path, line: str, copied: bool) -> None:
    for part in ("configs", "sql"):
        shutil.copytree(shipped() / part, tmp_path / part)
    features = tmp_path / "sql" / "churn" / "features.sql"
    features.write_text(f"{features.read_text()}\n{line}\n")
    loaded = load_pipeline("churn", tmp_path / "configs", ["source.snapshot=null"], environ={})
    with Client(publisher) as client:
        assert prepare.population(client, loaded, None).copied is copied


def test_the_error_of_a_copy_is_not_hidden_by_a_table_that_could_not_be_dropped(publisher: Endpoint) -> None:
    loaded = load_pipeline("churn", shipped() / "configs", environ={})
    with proxied(publisher.url) as between, Client(replace(publisher, url=between.url)) as client:
        card: Any = SimpleNamespace(contract=frozen(client, recipe_of(client, loaded, None)))
        population = prepare.population(client, loaded, None)
        between.add(Rule(b"CREATE TABLE `raypipe_snapshot_", "answer", answer=exception(241, "MEMORY_LIMIT_EXCEEDED")))
        between.add(Rule(b"DROP TABLE IF EXISTS `raypipe_snapshot_", "answer", answer=exception(497, "ACCESS_DENIED")))
        with pytest.raises(ServerError, match="MEMORY_LIMIT_EXCEEDED"):
            prepare._copied(client, loaded, manifest(), card, population, {})
