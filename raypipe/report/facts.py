"""The facts of a report, read once and shown on all pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from raypipe.config.load import Loaded
from raypipe.report.alerts import Alert, Check
from raypipe.report.drift import Drift
from raypipe.report.events import Event
from raypipe.report.experiments import Experiment
from raypipe.report.model import Model
from raypipe.report.names import Names
from raypipe.report.nights import Night
from raypipe.report.performance import Performance
from raypipe.report.source import Source


@dataclass(frozen=True)
class Facts:
    """The content of a report.

    Attributes:
        at: the moment of the report, UTC.
        loaded: the configuration of each pipeline of the report.
        nights: newest first.
        expected: the pipelines that a night should publish.
        freshness: by source table, its newest date; None for an empty table.
        events: the changes, newest first.
    """

    source: Source
    at: datetime
    loaded: Mapping[str, Loaded]
    names: Names
    nights: tuple[Night, ...] = ()
    expected: frozenset[str] = frozenset()
    freshness: Mapping[str, date | None] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    drift: Mapping[str, Drift] = field(default_factory=dict)
    performance: Mapping[str, Performance] = field(default_factory=dict)
    alerts: tuple[Alert, ...] = ()
    checks: tuple[Check, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    events: tuple[Event, ...] = ()

    def drift_of(self, pipeline: str) -> Drift:
        """Return a pipeline's drift; empty without any."""
        return self.drift.get(pipeline, Drift())

    def performance_of(self, pipeline: str) -> Performance:
        """Return a pipeline's performance; empty without any."""
        return self.performance.get(pipeline, Performance())

    def events_of(self, pipeline: str) -> list[Event]:
        """Return the changes of a pipeline, newest first."""
        return [event for event in self.events if event.pipeline == pipeline]
