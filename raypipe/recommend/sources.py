"""Read what a recommender learns from: articles.sql, interactions.sql, and the part of them that judges it."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.artifact.contract import key_hash
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, load
from raypipe.data.days import end_of_day
from raypipe.errors import ConfigError, DataError
from raypipe.fit.recipe import Recipe
from raypipe.recommend import catalogue as catalogues
from raypipe.recommend import evaluation, interactions
from raypipe.recommend.backtest import Backtest
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.evaluation import Holdout
from raypipe.recommend.histories import Users
from raypipe.recommend.interactions import Interactions
from raypipe.recommend.parameters import TEST_DAYS, HybridParameters

READER = "reader"
# More readers would narrow no interval that matters.
JUDGED_READERS = 100_000


def test_days(recipe: Recipe) -> int:
    """Return the number of days at the end that judge a version.

    Raises:
        ConfigError: the parameter is not a number of days.
    """
    days = recipe.params.get(TEST_DAYS, 1)
    if type(days) is not int or days < 1:
        raise ConfigError(
            f"model.params.{TEST_DAYS} is not a number of days", found=repr(days), allowed="a whole number from 1"
        )
    return days


def read(client: Client, recipe: Recipe, params: HybridParameters) -> tuple[Catalogue, Interactions, Backtest]:
    """Return the articles and pairs up to the test date, and the backtest on the reads that are held out.

    The reads of the last `test_days` days are held out. Where interactions.sql has no parameter `date`, its rows have
    no days, and a share of the pairs is held out at random (`split.test_share`).

    Raises:
        DataError: there are no articles or no reads, or none that can be held out.
    """
    day, reads = recipe.test_date, _reads(client, recipe, recipe.test_date)
    catalogue = _catalogue(client, recipe, params, day, reads)
    pairs = interactions.read(reads, catalogue.ids, keys=[READER])
    if "date" not in _interactions(recipe).parameters:
        held = evaluation.at_random(pairs, recipe.shares.test, recipe.shares.seed)
        return catalogue, pairs, _backtest(recipe, day, held, catalogue)
    earlier = day - timedelta(days=test_days(recipe))
    before = _reads(client, recipe, earlier)
    known = _catalogue(client, recipe, params, earlier, before)
    both = interactions.read_together([before, reads], known.ids, keys=[READER])
    since = int(end_of_day(earlier, recipe.snapshots[-1].parameters["timezone"]).timestamp())
    return catalogue, pairs, _backtest(recipe, earlier, evaluation.next_reads(*both, since=since), known)


def _backtest(recipe: Recipe, day: date, held: Holdout, catalogue: Catalogue) -> Backtest:
    at, held = end_of_day(day, recipe.snapshots[-1].parameters["timezone"]), held.first(JUDGED_READERS)
    return Backtest(at, held, catalogue, _readers(held, catalogue))


def _readers(held: Holdout, catalogue: Catalogue) -> Users:
    """Return the users of a holdout, described by their training histories alone."""
    brands = np.zeros(held.train.user_count, np.int64)
    brands[held.train.users] = catalogue.brands[held.train.items]
    histories = held.train.matrix()[held.users]
    ends = pa.array(histories.indptr, pa.int32())
    return Users(
        catalogue.brand_ids.take(pa.array(brands[held.users])),
        pa.array([""] * len(held.users)),
        pa.ListArray.from_arrays(ends, pa.array(histories.indices, pa.int32())),
        pa.ListArray.from_arrays(ends, pa.array(histories.data, pa.float32())),
    )


def _catalogue(client: Client, recipe: Recipe, params: HybridParameters, day: date, reads: pa.Table) -> Catalogue:
    """Read articles.sql, or take the articles of the reads in a folder without it."""
    path = recipe.folder / "articles.sql"
    if not path.is_file():
        table = pa.table({"article_id": pc.unique(reads.column("article_id")).sort()})
    else:
        table = client.table(load(path).text, _as_of(recipe, day))
    if not table.num_rows:
        raise DataError(
            f"There is no article to recommend on {day}",
            found=f"0 rows from {path if path.is_file() else _interactions(recipe).source}",
            next_step="check editorial_articles: status published, and publish_time in the days before that date",
        )
    return catalogues.read(table, content=params.content_fields, width=params.content_width)


def _interactions(recipe: Recipe) -> Statement:
    return load(recipe.folder / "interactions.sql")


def _reads(client: Client, recipe: Recipe, day: date) -> pa.Table:
    """Read the interactions up to a day; a hash stands for the reader, as the ids would fill the memory."""
    sql = _interactions(recipe).text
    columns = f"* EXCEPT ({', '.join(recipe.keys)}), {key_hash(recipe.keys)} AS {READER}"
    return client.table(f"SELECT {columns} FROM (\n{sql}\n)", _as_of(recipe, day))


def _as_of(recipe: Recipe, day: date) -> dict[str, Any]:
    return {**recipe.snapshots[-1].parameters, "date": day, "until": day}
