"""Test recommendations on a public sample of intranet readers, with views, likes and comments.

The protocol is the sample's: users with at least five articles, pairs of user and article split 80 to 20 at random,
precision as the library implicit counts it (hits over the hits that were possible). Parameters are chosen on a
fifth of the training pairs, never on the test pairs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from implicit.evaluation import ranking_metrics_at_k

from raypipe.recommend import catalogue as catalogues
from raypipe.recommend import interactions
from raypipe.recommend.als import one_blas_thread
from raypipe.recommend.evaluation import Holdout, evaluate
from raypipe.recommend.histories import Users
from raypipe.recommend.interactions import Interactions
from raypipe.recommend.parameters import AlsParameters, HybridParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import fit_recommender
from tests.recommending import popularity, weigh

ROOT = Path(__file__).resolve().parents[3]
# The published sample is not part of the repository; RAYPIPE_DESKDROP_CSV names a copy.
SAMPLE = Path(os.environ.get("RAYPIPE_DESKDROP_CSV", ROOT.parent / "shared" / "data" / "deskdrop_interactions.csv.gz"))
EVENT_WEIGHTS = {"VIEW": 1.0, "LIKE": 2.0, "BOOKMARK": 2.5, "FOLLOW": 3.0, "COMMENT CREATED": 4.0}
AT = datetime(2018, 1, 1, tzinfo=UTC)
FEWEST_ARTICLES = 5
SPLITS = (0, 1, 2)
POPULAR = HybridParameters(als=0, content=0, popularity=1, freshness=0, content_width=0, max_age_days=0)
GRID = tuple(
    HybridParameters(
        als=1,
        content=0,
        freshness=0,
        popularity=popularity,
        content_width=0,
        max_age_days=0,
        factorisation=AlsParameters(factors=64, regularization=regularization, alpha=alpha),
    )
    for regularization in (1.0, 10.0, 30.0)
    for alpha in (1.0, 5.0)
    for popularity in (0.0, 0.1)
)

pytestmark = [
    pytest.mark.skipif(
        not SAMPLE.is_file(), reason=f"the deskdrop sample is not at {SAMPLE.name}; set RAYPIPE_DESKDROP_CSV"
    ),
]


@pytest.fixture(scope="module")
def sample() -> Interactions:
    """Pairs of the readers with at least five articles."""
    events = pa.csv.read_csv(SAMPLE)
    weights = weigh(events.column("eventType"), events.column("timestamp"), EVENT_WEIGHTS, 0, AT)
    events = events.append_column("weight", pa.array(weights))
    read = events.group_by("personId").aggregate([("contentId", "count_distinct")])
    often = read.filter(pc.greater_equal(read.column("contentId_count_distinct"), FEWEST_ARTICLES))
    kept = events.filter(pc.is_in(events.column("personId"), value_set=often.column("personId").combine_chunks()))
    renamed = kept.rename_columns({"contentId": "article_id", "timestamp": "last_interaction_at"})
    return interactions.read(renamed, pc.unique(kept.column("contentId")), keys=("personId",))


def split(pairs: Interactions, seed: int) -> Holdout:
    """Four fifths of the pairs to learn from, a fifth to find."""
    held = np.random.default_rng(seed).random(len(pairs)) < 0.2
    return Holdout(pairs.take(~held), pairs.take(held))


def quality(held: Holdout, params: HybridParameters) -> dict[str, Any]:
    """What a model of the training pairs finds, its users known by their histories alone."""
    count = held.train.item_count
    articles = pa.table(
        {
            "article_id": [str(item) for item in range(count)],
            "brand_id": ["intranet"] * count,
            "category_id": [""] * count,
            "published_at": np.zeros(count, np.int64),
            "popularity": popularity(held.train),
        }
    )
    catalogue = catalogues.read(articles, width=params.content_width)
    matrix = held.train.matrix()[held.users]
    ends = pa.array(matrix.indptr, pa.int32())
    users = Users(
        pa.array(["intranet"] * len(held.users)),
        pa.array([""] * len(held.users)),
        pa.ListArray.from_arrays(ends, pa.array(matrix.indices, pa.int32())),
        pa.ListArray.from_arrays(ends, pa.array(matrix.data, pa.float32())),
    )
    found = Ranker(fit_recommender(held.train, catalogue, params, threads=1), at=AT).rank(users)
    return evaluate(found.lists(len(held.users), 10), held, count)


def chosen(train: Interactions) -> HybridParameters:
    """The parameters with the highest NDCG on a fifth of the training pairs."""
    validation = split(train, seed=99)
    return max(GRID, key=lambda params: quality(validation, params)["ndcg"]["value"])


@pytest.fixture(scope="module")
def results(sample: Interactions) -> list[Mapping[str, dict[str, Any]]]:
    """For each split, the quality on its test pairs of the parameters chosen without them, and of popularity."""
    found = []
    for seed in SPLITS:
        held = split(sample, seed)
        found.append({"hybrid": quality(held, chosen(held.train)), "popular": quality(held, POPULAR)})
    return found


def test_the_sample_is_the_published_one(sample: Interactions) -> None:
    assert (sample.user_count, len(sample)) == (1_140, 39_106)


def test_the_protocol_gives_the_library_the_published_numbers(sample: Interactions) -> None:
    held = split(sample, SPLITS[0])
    train, test = held.train.matrix(), held.test.matrix()
    with one_blas_thread():
        model = AlternatingLeastSquares(factors=64, random_state=0, num_threads=1)
        model.fit(train, show_progress=False)
    found = ranking_metrics_at_k(model, train, test, K=10, show_progress=False, num_threads=1)
    assert found["precision"] == pytest.approx(0.139, abs=0.007)
    assert found["ndcg"] == pytest.approx(0.116, abs=0.007)


def test_precision_and_ndcg_reach_what_others_publish(results: list[Mapping[str, dict[str, Any]]]) -> None:
    for found in results:
        assert found["hybrid"]["precision_of_possible"]["value"] >= 0.139
        assert found["hybrid"]["ndcg"]["value"] >= 0.116


def test_the_recommender_beats_popularity_by_more_than_noise(results: list[Mapping[str, dict[str, Any]]]) -> None:
    for found in results:
        assert found["hybrid"]["ndcg"]["low"] > found["popular"]["ndcg"]["high"]
        assert found["hybrid"]["coverage"]["value"] > found["popular"]["coverage"]["value"]
