"""The plan of a sweep: its recipe, the axes of its space, its metric and its limits."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from datetime import date

from raypipe.clickhouse.client import Client
from raypipe.config.load import Loaded
from raypipe.evaluation.metrics import METRICS
from raypipe.fit.recipe import Recipe, labels_of, recipe_of
from raypipe.fit.training_table import PREFIX
from raypipe.sweep import space
from raypipe.sweep.brands import for_brand

# Trials report only at 1, 3, 9 … times the grace rounds, because Ray Tune waits for each report.
REDUCTION = 3
# Fields of a recipe that may differ when a sweep continues on another machine.
_PLACES = ("folder", "features_sql", "labels_sql", "levels", "workers", "cpus_per_worker", "slice_rows")


@dataclass(frozen=True)
class SweepPlan:
    """The recipe of a sweep, with the space and the limits of its trials.

    Attributes:
        name: the name of the sweep, which its tables, rows and files begin with.
        metric: the metric that decides, on validation rows.
        trials: the number of trials, with the trials of an earlier process.
        concurrent: the most trials at a time; None for as many as the cluster holds.
        grace_rounds: the rounds that every trial gets before it may be stopped.
        minutes: the longest that the search may take; None without a limit.
    """

    name: str
    recipe: Recipe
    axes: tuple[space.Axis, ...]
    metric: str
    trials: int
    concurrent: int | None
    cpus: int
    grace_rounds: int
    minutes: float | None = None

    @property
    def table(self) -> str:
        """Return the prefix of the sweep's training tables."""
        return f"{PREFIX}{self.name}"

    @property
    def higher_is_better(self) -> bool:
        return METRICS[self.metric].higher_is_better

    @property
    def mode(self) -> str:
        """Return the direction of the metric in Ray Tune's words."""
        return "max" if self.higher_is_better else "min"

    @property
    def most_rounds(self) -> int:
        return space.most_rounds(self.recipe, self.axes)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Return the rounds at which trials are compared: the grace rounds times 1, 3, 9, …, below the most rounds."""
        steps = math.ceil(math.log(max(self.most_rounds, 1) / self.grace_rounds, REDUCTION))
        return tuple(self.grace_rounds * REDUCTION**step for step in range(max(0, steps)))

    @property
    def identity(self) -> str:
        """Return a hash of everything that must not change when the sweep continues."""
        texts = [self.recipe.features_sql.text, labels_of(self.recipe).text]
        values = {name: str(value) for name, value in vars(self.recipe).items() if name not in _PLACES}
        axes = [asdict(axis) for axis in self.axes]
        described = [texts, values, axes, self.metric, self.trials, self.grace_rounds]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def plan_of(
    client: Client, loaded: Loaded, axes: tuple[space.Axis, ...], name: str, last: date, brand: str | None
) -> SweepPlan:
    """Return the plan for a pipeline, or for one of its brands, on data up to a day."""
    recipe, settings = recipe_of(client, loaded, last), loaded.config.sweep
    if brand is not None:
        recipe = for_brand(client, recipe, brand)
    metric = settings.metric or recipe.metric
    return SweepPlan(
        name,
        recipe,
        axes,
        metric,
        settings.trials,
        settings.concurrent,
        settings.cpus,
        settings.grace_rounds,
        settings.minutes,
    )
