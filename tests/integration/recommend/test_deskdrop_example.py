"""Test the way from a CSV of reads to published lists with examples/deskdrop, on made-up readers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.schema.needed import needed
from raypipe.compare.configurations import compare_with
from raypipe.config.load import Loaded, load_pipeline
from raypipe.fit import fit
from raypipe.fit.fit import FitResult
from raypipe.score import score

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "deskdrop"
READERS, ARTICLES, TOPICS = 200, 60, 3


@pytest.fixture(scope="module")
def loader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deskdrop_load", EXAMPLE / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Readers who read one of three topics, one of them ten thousand times, and one a single article."""
    rng = np.random.default_rng(5)
    lines = ["timestamp,eventType,contentId,personId"]
    for reader in range(READERS):
        topic = reader % TOPICS
        articles = rng.choice(ARTICLES // TOPICS, 8, replace=False) * TOPICS + topic
        lines += [f"{1465400000 + 60 * at},VIEW,{article},{reader}" for at, article in enumerate(articles)]
    lines += [f"{1465400000 + at},VIEW,{at % (ARTICLES - 15)},often" for at in range(10_000)]
    lines += ["1465400000,LIKE,0,once"]
    path = tmp_path / "reads.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def filled(client: Client, loader: ModuleType, made_up: Path, tmp_path: Path) -> Loaded:
    loaded = configured(tmp_path)
    migrate(client, needed(loaded.tables(), loaded.sql_files()).declarations)
    loader.EXAMPLE.fill(client, loader.EXAMPLE.read(made_up), replace=False)
    return loaded


def configured(folder: Path, *overrides: str) -> Loaded:
    given = (f"artifacts={folder / 'artifacts'}", "evaluate.bootstrap=50", *overrides)
    return load_pipeline("deskdrop", EXAMPLE / "configs", given, environ={})


def fitted(database: Endpoint, loaded: Loaded) -> FitResult:
    return fit.fit(database, loaded, None, lambda *_: None)


def test_readers_get_lists_of_unread_articles_from_a_table_without_dates(
    client: Client, filled: Loaded, database: Endpoint
) -> None:
    result = fitted(database, filled)
    test = result.fitted.test
    assert set(result.fitted.baselines) == {"popularity"}
    assert test["precision_of_possible"]["low"] > result.fitted.baselines["popularity"]["precision_of_possible"]["high"]
    assert result.fitted.decision.promote
    assert result.fitted.history["tried"]
    assert "age_days" not in test
    score.score(database, filled, None, "latest", lambda *_: None)
    lists = "raypipe_current_customer_recommendations"
    ((readers, most, alone),) = client.rows(
        f"SELECT uniqExact(user_id), max(rank_position), countIf(user_id = 'once') FROM {lists}"
    )
    assert (readers, most, alone) == (READERS + 2, 10, 10)
    read = "SELECT reader_id, article_id FROM deskdrop_interactions"
    assert client.value(f"SELECT count() FROM {lists} WHERE (user_id, article_id) IN ({read})") == 0
    ((own, listed),) = client.rows(
        f"SELECT countIf(toUInt32(article_id) % 3 = toUInt32(user_id) % 3), count() FROM {lists}"
        " WHERE user_id NOT IN ('often', 'once')"
    )
    assert own > 0.8 * listed


def test_configurations_of_a_recommender_are_compared_on_the_same_reads(
    filled: Loaded, database: Endpoint, tmp_path: Path
) -> None:
    popular = "model.params={als: 0, neighbours: 0, content: 0, popularity: 1, freshness: 0}"
    other = configured(tmp_path, popular)
    found = compare_with(database, filled, other, None, lambda *_: None)
    assert found.metric == "ndcg"
    assert found.difference["low"] is not None
    assert found.difference["low"] > 0
    assert found.configured["value"] is not None
    assert found.other["value"] is not None
    assert found.difference["value"] == pytest.approx(found.configured["value"] - found.other["value"])
