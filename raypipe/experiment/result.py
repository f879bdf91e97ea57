"""The result of an experiment, as it is shown and stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from raypipe.evaluation.metrics import Interval
from raypipe.pages import figures, grids, notebook
from raypipe.pages.grids import Estimate
from raypipe.registry.ab_tests import DECIDED

# The verdicts on an arm beside the control.
BETTER, WORSE, NO_CHANGE, UNDECIDED = "better", "worse", "no change worth knowing", "undecided"
UNKNOWN = Interval(None, None, None)
# The status of a test whose arms have other sizes than planned.
REFUSED = "REFUSED"
# The author of the rows in ml_model_ab_tests.
AUTHOR = "raypipe abtest"


@dataclass(frozen=True)
class ArmSize:
    """The units of an arm beside its planned share; the days of new units are None without an exposure."""

    arm: str
    units: int
    share: float
    planned: float
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True)
class Comparison:
    """An arm beside the control in a metric.

    Attributes:
        difference: arm minus control.
        relative: the difference as a share of the control's value; without a value where that is not away from 0.
        statistic: the difference in standard errors, as `p_value` of no difference; None where all units are equal.
        adjusted: the p-value corrected for several arms, which decides.
        detectable: the smallest relative change that the units suffice for, with the config's power.
        units_to_go: the units still missing to find `detect`; None without `detect`.
        days_to_go: the same in days at the present pace.
    """

    arm: str
    control: str
    arm_value: float
    control_value: float
    difference: Interval
    relative: Interval = UNKNOWN
    statistic: float | None = None
    p_value: float | None = None
    adjusted: float | None = None
    verdict: str = UNDECIDED
    detectable: float | None = None
    units_to_go: int | None = None
    days_to_go: int | None = None

    @property
    def winner(self) -> str:
        """Return the better of the two arms; '' without one."""
        return {BETTER: self.arm, WORSE: self.control}.get(self.verdict, "")


@dataclass(frozen=True)
class MetricResult:
    """A metric in all arms.

    Attributes:
        units: per arm, the units with a value.
        covariate: the covariate in words; '' without one.
        variance_cut: the share of the variance that the covariate took away.
        missing: units without a finite value.
    """

    metric: str
    kind: str
    better: str
    units: Mapping[str, int]
    covariate: str
    variance_cut: float
    missing: int
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class SampleRatio:
    """The p-value of the arms' sizes under the plan, and whether it is too small to trust the result."""

    p_value: float
    mismatch: bool


@dataclass(frozen=True)
class ExperimentResult:
    """The arms of an experiment, compared.

    Attributes:
        since: the first day; None without an exposure, as `until`.
        intervals: the days or looks that the intervals hold for, in words.
        status: RUNNING, COMPLETED, or REFUSED where the arms' sizes contradict the plan.
        decision: what to do, in a sentence.
    """

    experiment: str
    description: str
    control: str
    since: date | None
    until: date | None
    planned_end: date | None
    confidence: float
    intervals: str
    arms: tuple[ArmSize, ...]
    sample_ratio: SampleRatio
    metrics: tuple[MetricResult, ...]
    status: str
    decision: str
    score: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """Return the number of units in all arms."""
        return sum(arm.units for arm in self.arms)

    @property
    def winner(self) -> str:
        """Return the arm that wins in the first metric; '' without one."""
        better = [item for item in self.metrics[0].comparisons if item.verdict == BETTER]
        if self.status != DECIDED:
            return ""
        if better:
            return max(better, key=lambda item: abs(item.difference.value or 0)).arm
        return self.control if all(item.verdict == WORSE for item in self.metrics[0].comparisons) else ""

    def _repr_html_(self) -> str:
        """Show the experiment in a notebook: its decision, and the interval of each metric."""
        pairs = [(f"units of {arm.arm}", f"{arm.units:,}") for arm in self.arms]
        estimates = [
            Estimate(f"{metric.metric}, {item.arm}", item.relative.value, item.relative.low, item.relative.high)
            for metric in self.metrics
            for item in metric.comparisons
        ]
        drawn = grids.intervals(
            "Difference to the control", estimates, reason="no metric has a value", reference=0.0, shown=figures.percent
        )
        state = "bad" if self.status == REFUSED else "good" if self.winner else "plain"
        return notebook.card(f"experiment {self.experiment}", state, self.status, pairs, self.decision, drawn)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {**asdict(self), "units": self.units, "winner": self.winner}
