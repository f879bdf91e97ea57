"""A comparison of models with a champion, as it is stored and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from pydantic import TypeAdapter

from raypipe.evaluation.metrics import gain

Interval = Mapping[str, float | None]


@dataclass(frozen=True)
class Compared:
    """A row of the comparison.

    Attributes:
        name: the model's name, or `champion`, `prior`, `one_feature`, `persistence`.
        kind: `model` for a model that was fitted for the comparison.
        metrics: on the test rows, each with `value`, `low` and `high`; None for a failed fit.
        difference: the gain over the champion in units of the deciding metric; positive is better. None without a
            champion, and for the champion itself.
        seconds: the duration of a fit of this model alone, with the reading of the features; None for a rule.
    """

    name: str
    kind: Literal["champion", "model", "rule"]
    version: str = ""
    model_id: str = ""
    metrics: Mapping[str, Interval] | None = None
    difference: Interval | None = None
    seconds: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Comparison:
    """Models beside the champion of a pipeline.

    Attributes:
        pipeline: the pipeline that the models are registered under.
        of: the pipeline of the rows and of the champion.
        champion: the champion's version; empty without a champion that could be compared.
        test_date: the snapshot of the test rows.
        same_rows: whether the champion was fitted on these rows; None if that is unknown.
        models: the best first, failed fits last.
    """

    pipeline: str
    of: str
    champion: str
    metric: str
    test_date: date
    rows: Mapping[str, int]
    same_rows: bool | None
    models: tuple[Compared, ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def failed(self) -> tuple[Compared, ...]:
        """Return the models that could not be fitted."""
        return tuple(model for model in self.models if model.error)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready values."""
        failed = [model.name for model in self.failed]
        return {**asdict(self), "test_date": self.test_date.isoformat(), "failed": failed}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Comparison:
        """Return the comparison of a document of `to_json`.

        Raises:
            ValueError: the document is none, for instance one that another version of raypipe wrote.
        """
        return TypeAdapter(Comparison).validate_python(document)


def ranked(models: Sequence[Compared], metric: str) -> tuple[Compared, ...]:
    """Return the best first, and failed fits last."""

    def place(model: Compared) -> tuple[bool, float]:
        value = model.metrics[metric]["value"] if model.metrics else None
        return (True, 0.0) if value is None else (False, gain(metric, 0.0, value))

    return tuple(sorted(models, key=place))


def clear_gains(models: Sequence[Compared]) -> list[str]:
    """Return a warning per model that beats the champion by more than noise."""
    better = [model for model in models if model.difference and (model.difference["low"] or 0) > 0]
    return [f"{model.name} beats the champion by more than noise" for model in better]
