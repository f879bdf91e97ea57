"""How a fitted model is judged: its metric, its decision threshold and what is suspicious."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from raypipe.config.fields import Breach, Column, Section, refuse

Metric = Literal["auc", "average_precision", "log_loss", "brier", "rmse", "mae"]
BINARY_METRICS = ("auc", "average_precision", "log_loss", "brier")


def _threshold(value: Any) -> str | dict[str, float]:
    if value in ("f1", "youden"):
        return str(value)
    if isinstance(value, dict) and len(value) == 1:
        ((goal, share),) = value.items()
        if goal in ("precision", "recall") and type(share) in (int, float) and 0 < share < 1:
            return {str(goal): float(share)}
    refuse(
        [
            Breach(
                "is no way to choose a threshold",
                repr(value),
                "f1, youden, {precision: 0.8} or {recall: 0.8} (a share below 1)",
            )
        ]
    )
    raise AssertionError("unreachable: refuse raises")


_GOAL = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
Threshold = Annotated[
    str | dict[str, float],
    PlainValidator(_threshold),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["f1", "youden"]},
                {
                    "type": "object",
                    "properties": {"precision": _GOAL},
                    "required": ["precision"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"recall": _GOAL},
                    "required": ["recall"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class Evaluate(Section):
    """How a fitted model is judged before it may become champion."""

    metric: Metric = Field(
        default="auc", description="The metric that decides between champion and challenger, on the same test rows."
    )
    threshold: Threshold = Field(
        default="f1",
        description="How the decision threshold is chosen on the validation rows: f1 or youden (its maximum), "
        "or the lowest that reaches {precision: SHARE} or {recall: SHARE}.",
    )
    bootstrap: int = Field(
        default=200, ge=0, description="Bootstrap resamples for the 95 % interval of each metric; 0: no intervals."
    )
    suspicious_auc: float = Field(
        default=0.99,
        gt=0.5,
        le=1,
        description="A single feature that reaches this AUC on its own is reported as a likely leak.",
    )
    persistence: Column | None = Field(
        default=None,
        description="For a number: the feature that holds its latest value. That it stays unchanged is one more rule "
        "that the model must beat.",
    )
