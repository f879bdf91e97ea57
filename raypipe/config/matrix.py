"""A matrix of sweeps, configs/sweeps/NAME.yaml: every pipeline with every brand, horizon and model, one sweep each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from raypipe.config.document import read
from raypipe.config.fields import Breach, Items, Section, Slug, refuse, repeated
from raypipe.config.problems import refusal
from raypipe.config.validate import validate
from raypipe.errors import UsageError

MOST_CELLS = 200


def _distinct(names: tuple[Any, ...]) -> tuple[Any, ...]:
    refuse(Breach("names something twice", name, "each once") for name in repeated(map(str, names)))
    return names


class MatrixConfig(Section):
    """What a matrix of sweeps crosses; an axis that is left out is as the pipeline's config has it."""

    description: str = Field(default="", description="What the matrix is for.")
    pipelines: Annotated[Items[Slug], AfterValidator(_distinct)] = Field(
        min_length=1, description="The pipelines to sweep."
    )
    brands: Annotated[Items[str], AfterValidator(_distinct)] = Field(
        default=(),
        description="Brands by id, name or code, each swept on its own entities; empty: all brands together.",
    )
    horizons: Annotated[Items[Annotated[int, Field(ge=1)]], AfterValidator(_distinct)] = Field(
        default=(), description="Values of label.horizon_days; empty: the pipeline's own."
    )
    models: dict[Slug, dict[str, Any]] = Field(
        default={},
        description="By name, keys of the configuration that each model replaces, such as {model.class: …, "
        "model.params: {…}, sweep.space: {…}}; empty: the pipeline's own model.",
    )
    set: dict[str, Any] = Field(default={}, description="Keys of the configuration for every cell, as with --set.")


@dataclass(frozen=True)
class CellPlan:
    """One cell: a pipeline, what is changed in its configuration, and the brand."""

    pipeline: str
    brand: str | None
    horizon: int | None
    model: str | None
    overrides: tuple[str, ...]

    @property
    def label(self) -> str:
        """The cell, for people."""
        horizon = None if self.horizon is None else f"{self.horizon} days"
        return " × ".join(part for part in (self.pipeline, self.model, self.brand, horizon) if part)


def load_matrix(path: Path) -> list[CellPlan]:
    """The cells of a matrix file, in its order.

    Raises:
        UsageError: there is no such file.
        ConfigError: something is wrong in it; the message lists every problem with its line.
    """
    if not path.is_file():
        near = sorted(str(one) for one in path.parent.glob("[!.]*.yaml"))
        raise UsageError(
            "There is no such matrix of sweeps",
            found=str(path),
            allowed=", ".join(near) or "a YAML file with `pipelines: [churn]`",
        )
    document = read(path, str(path))
    config, problems = validate(MatrixConfig, document.root)
    if config is None or document.problems:
        raise refusal(f"The matrix {path}", [*document.problems, *problems])
    cells = list(_cells(config))
    if len(cells) > MOST_CELLS:
        raise UsageError(
            f"The matrix {path} has too many cells",
            found=str(len(cells)),
            allowed=f"{MOST_CELLS}",
            next_step="split it into several files",
        )
    return cells


def _cells(config: MatrixConfig) -> Iterator[CellPlan]:
    common = _overrides(config.set)
    axes = config.pipelines, config.models or (None,), config.brands or (None,), config.horizons or (None,)
    for pipeline, model, brand, horizon in product(*axes):
        changes = [*common]
        if model is not None:
            # Emptied first, since a mapping would be merged with the one it replaces.
            changes += [f"{key}=" for key, value in config.models[model].items() if isinstance(value, dict)]
            changes += _overrides(config.models[model])
        if horizon is not None:
            changes.append(f"label.horizon_days={horizon}")
        yield CellPlan(pipeline, brand, horizon, model, tuple(changes))


def _overrides(values: dict[str, Any]) -> list[str]:
    # JSON is YAML, so a value comes through as it was written.
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]
