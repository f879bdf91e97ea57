"""The section `evaluate`: metric, decision threshold and suspicions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from raypipe.config.fields import Breach, Column, Columns, Section, refuse

Metric = Literal["auc", "average_precision", "log_loss", "brier", "accuracy", "macro_f1", "rmse", "mae"]
# By the label's kind; the first is the default.
METRICS: Mapping[str, tuple[str, ...]] = {
    "binary": ("auc", "average_precision", "log_loss", "brier"),
    "number": ("rmse", "mae"),
    "classes": ("log_loss", "auc", "accuracy", "macro_f1"),
}


def _threshold(value: Any) -> Any:
    if value in ("f1", "youden"):
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((goal, share),) = value.items()
        if goal in ("precision", "recall") and type(share) in (int, float) and 0 < share < 1:
            return {goal: float(share)}
    allowed = "f1, youden, {precision: 0.8} or {recall: 0.8} (a share below 1)"
    refuse(Breach("is not a way to choose a threshold", repr(value), allowed))
    return None


def _goal(name: str) -> dict[str, Any]:
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {"type": "object", "properties": {name: share}, "required": [name], "additionalProperties": False}


Threshold = Annotated[
    str | dict[str, float],
    PlainValidator(_threshold),
    WithJsonSchema({"anyOf": [{"enum": ["f1", "youden"]}, _goal("precision"), _goal("recall")]}),
]


class Evaluate(Section):
    """The judgement of a fitted model, before it may become champion."""

    metric: Metric | None = Field(
        default=None,
        description="The metric that decides between champion and challenger, on the same test rows; null: auc for a "
        "binary label, rmse for a number, log_loss for classes.",
    )
    threshold: Threshold = Field(
        default="f1",
        description="How to choose the decision threshold on the validation rows: f1 or youden (the maximum), or the "
        "lowest threshold that reaches {precision: SHARE} or {recall: SHARE}.",
    )
    bootstrap: int = Field(
        default=200, ge=0, description="Bootstrap resamples for the 95 % interval of each metric; 0: no intervals."
    )
    suspicious_auc: float = Field(
        default=0.99, gt=0.5, le=1, description="A single feature with this AUC is reported as a likely leak."
    )
    trusted: Columns = Field(
        default=(), description="Features that are known before the label, however well they predict it alone."
    )
    persistence: Column | None = Field(
        default=None,
        description="For a number: the feature with its latest value. The rule that the value stays unchanged is then "
        "one more baseline that the model must beat.",
    )
