"""Compare raypipe's ranker with the library implicit on top-n lists for every user, in one process.

    python benchmarks/recommending.py                                        # 20,000 users × 2,000 articles
    python benchmarks/recommending.py --users 1000000 --articles 20000 --json

Both use the factors of one fit on the same synthetic interactions, exclude the articles a user has read, and use the
same number of threads. implicit takes each user's factors from its fit. raypipe keeps none, folds every history in, and
adds content, popularity and freshness. `implicit_fold_in` is `recommend(recalculate_user=True)`, which folds in, too.

Contenders take turns after an uncounted round on a few users, and seconds are medians. All articles are candidates of
one brand. That is the worst case: with several brands raypipe ranks only a user's own brand.

First, a sample of users is ranked by the factorisation alone and must get the same lists as from implicit's fold-in.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.recommend import catalogue as catalogues
from raypipe.recommend.als import one_blas_thread
from raypipe.recommend.histories import Users
from raypipe.recommend.interactions import DAY_SECONDS, Interactions
from raypipe.recommend.neighbours import nearest
from raypipe.recommend.parameters import AlsParameters, HybridParameters, ListParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import Recommender

AT = datetime(2026, 1, 31, tzinfo=UTC)
BATCH = 100_000
SAMPLE = 1_000
NAMES = ("raypipe", "implicit", "implicit_fold_in")
PURE = {"als": 1.0, "neighbours": 0.0, "content": 0.0, "popularity": 0.0, "freshness": 0.0, "lists": ListParameters()}
ALIKE = 0.999


@dataclass(frozen=True)
class Arena:
    """The inputs of both rankers: a csr_matrix (users, articles) of weights, implicit's fit and raypipe's model."""

    weights: Any
    confidence: Any
    implicit: Any
    recommender: Recommender
    n: int
    threads: int


def interactions(users: int, articles: int, reads: int, seed: int) -> Any:
    """Return synthetic reads by popularity (Zipf) and by one of 50 topics, as a csr_matrix of weights."""
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.geometric(1 / reads, users), 10 * reads)
    rows = np.repeat(np.arange(users), lengths)
    popular = (articles * rng.random(len(rows)) ** 3).astype(np.int64)
    topic = np.repeat(rng.integers(0, 50, users), lengths)
    columns = np.where(rng.random(len(rows)) < 0.7, (popular // 50 * 50 + topic) % articles, popular)
    weights = rng.choice(np.array([1, 2, 3], np.float32), len(rows), p=[0.85, 0.1, 0.05])
    return csr_matrix((weights, (rows, columns)), shape=(users, articles))


def neighbours(weights: Any, params: HybridParameters, seed: int) -> Any:
    """Return the neighbours of the articles, by reads at random times of 30 days."""
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    times = np.random.default_rng(seed).integers(1, 30 * DAY_SECONDS, weights.nnz)
    read = Interactions(rows, weights.indices, weights.data, times, *weights.shape)
    return nearest(read, np.ones(weights.shape[1], np.bool_), params.covisitation)


def arena(
    users: int, articles: int, reads: int, factors: int, n: int, threads: int, seed: int, weight: float, rules: bool
) -> Arena:
    from implicit.cpu.als import AlternatingLeastSquares

    params = HybridParameters(
        neighbours=weight,
        max_age_days=0,
        factorisation=AlsParameters(factors=factors, iterations=3, seed=seed),
        lists=ListParameters(5, 3, 0.05) if rules else ListParameters(),
    )
    weights = interactions(users, articles, reads, seed)
    confidence = weights.copy()
    confidence.data = 1 + np.float32(params.factorisation.alpha) * confidence.data
    with one_blas_thread():
        library = AlternatingLeastSquares(
            factors=factors,
            regularization=params.factorisation.regularization,
            iterations=params.factorisation.iterations,
            random_state=seed,
            num_threads=threads,
        )
        library.fit(confidence, show_progress=False)
    numbers = np.arange(articles)
    table = pa.table(
        {
            "article_id": [f"article {number}" for number in numbers],
            "brand_id": ["brand"] * articles,
            "category_id": [f"topic {number % 50}" for number in numbers],
            "author_id": [f"author {number % 200}" for number in numbers],
            "published_at": pa.array(int(AT.timestamp()) - 1 - numbers * 60, pa.int64()),
            "popularity": np.bincount(weights.indices, minlength=articles),
        }
    )
    catalogue = catalogues.read(table, content={"category_id": 1.0, "author_id": 0.5}, width=params.content_width)
    model = Recommender(params, catalogue, library.item_factors, neighbours(weights, params, seed))
    return Arena(weights, confidence, library, model, n, threads)


def batch(weights: Any) -> Users:
    """Return users as scoring reads them, by the positions of their articles."""
    ends = pa.array(weights.indptr, pa.int32())
    count = weights.shape[0]
    return Users(
        pa.array(["brand"] * count),
        pa.array([""] * count),
        pa.ListArray.from_arrays(ends, pa.array(weights.indices, pa.int32())),
        pa.ListArray.from_arrays(ends, pa.array(weights.data, pa.float32())),
    )


def with_raypipe(arena: Arena, ranker: Ranker, users: int) -> int:
    return sum(len(ranker.rank(batch(arena.weights[at : min(at + BATCH, users)]))) for at in range(0, users, BATCH))


def with_implicit(arena: Arena, users: int, *, fold_in: bool) -> int:
    found = 0
    for at in range(0, users, BATCH):
        rows = np.arange(at, min(at + BATCH, users))
        items, _ = arena.implicit.recommend(rows, arena.confidence[rows], N=arena.n, recalculate_user=fold_in)
        found += items.size
    return found


def contenders(arena: Arena) -> dict[str, Callable[[int], int]]:
    ranker = Ranker(arena.recommender, at=AT, n=arena.n, threads=arena.threads)
    return {
        "raypipe": lambda users: with_raypipe(arena, ranker, users),
        "implicit": lambda users: with_implicit(arena, users, fold_in=False),
        "implicit_fold_in": lambda users: with_implicit(arena, users, fold_in=True),
    }


def alike(arena: Arena) -> float:
    """Return the share of list places on which raypipe and implicit agree by the factorisation alone."""
    rows = np.arange(min(SAMPLE, arena.weights.shape[0]))
    params = replace(arena.recommender.params, **PURE)
    found = Ranker(replace(arena.recommender, params=params), at=AT, n=arena.n).rank(batch(arena.weights[rows]))
    theirs, _ = arena.implicit.recommend(rows, arena.confidence[rows], N=arena.n, recalculate_user=True)
    return float(np.mean(found.lists(len(rows), arena.n) == theirs))


def benchmark(arena: Arena, rounds: int, names: list[str]) -> dict[str, Any]:
    users = arena.weights.shape[0]
    same = alike(arena)
    if same < ALIKE:
        raise SystemExit(f"raypipe's lists differ from implicit's: only {same:.2%} of the places are the same")
    runs = {name: run for name, run in contenders(arena).items() if name in names}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(min(users, SAMPLE))
    for number in range(rounds):
        order = list(runs) if number % 2 == 0 else list(reversed(runs))
        for name in order:
            started = time.perf_counter()
            made = runs[name](users)
            seconds[name].append(time.perf_counter() - started)
            if made != users * arena.n:
                raise SystemExit(f"{name} made {made} recommendations instead of {users * arena.n}")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "users": users,
        "articles": arena.weights.shape[1],
        "reads": int(arena.weights.nnz),
        "factors": arena.recommender.factors.shape[1],
        "n": arena.n,
        "threads": arena.threads,
        "rounds": rounds,
        "alike": round(same, 5),
        "contenders": {
            name: {"seconds": round(value, 3), "users_per_second": round(users / value)}
            for name, value in medians.items()
        },
        "ratios": {name: round(medians[name] / medians["raypipe"], 2) for name in medians if name != "raypipe"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--articles", type=int, default=2_000)
    parser.add_argument("--reads", type=int, default=15, help="mean number of articles per user")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--n", type=int, default=10, help="length of a list")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--neighbours", type=float, default=0.0, help="weight of the neighbours in raypipe's score")
    parser.add_argument("--rules", action="store_true", help="cap categories and authors in raypipe's lists")
    parser.add_argument("--contenders", default=",".join(NAMES), help="a comma-separated subset")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args()
    names = asked.contenders.split(",")
    if "raypipe" not in names or not set(names) <= set(NAMES):
        parser.error(f"--contenders must be a subset of {','.join(NAMES)} that includes raypipe")
    with one_blas_thread():
        sizes = (asked.users, asked.articles, asked.reads, asked.factors, asked.n, asked.threads, asked.seed)
        made = arena(*sizes, asked.neighbours, asked.rules)
        result = benchmark(made, asked.rounds, names)
    if asked.json:
        print(json.dumps(result))
        return
    print(
        f"{result['users']} users × {result['articles']} articles, {result['reads']} reads, {result['threads']} threads"
    )
    for name, found in result["contenders"].items():
        print(f"  {name:18} {found['seconds']:8.3f} s  {found['users_per_second']:>9,} users per second")


if __name__ == "__main__":
    main()
