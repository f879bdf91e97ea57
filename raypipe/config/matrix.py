"""Load a matrix of sweeps, configs/sweeps/NAME.yaml: a sweep for each pipeline, brand, horizon and model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from raypipe.config.check import check
from raypipe.config.document import read
from raypipe.config.fields import Items, Section, Slug, distinct
from raypipe.config.problems import refusal
from raypipe.errors import UsageError

MOST_CELLS = 200


class MatrixConfig(Section):
    """The axes of a matrix of sweeps; a missing axis keeps the value of the pipeline's config."""

    description: str = Field(default="", description="The purpose of the matrix.")
    pipelines: Annotated[Items[Slug], AfterValidator(distinct)] = Field(
        min_length=1, description="The pipelines to sweep."
    )
    brands: Annotated[Items[str], AfterValidator(distinct)] = Field(
        default=(), description="Brands by id, name or code, each swept on its own; empty: all together."
    )
    horizons: Annotated[Items[Annotated[int, Field(ge=1)]], AfterValidator(distinct)] = Field(
        default=(), description="Values of label.horizon_days; empty: the pipeline's own."
    )
    models: dict[Slug, dict[str, Any]] = Field(
        default={},
        description="For each name, the configuration keys that the model replaces, such as {model.class: …, "
        "model.params: {…}, sweep.space: {…}}; empty: the pipeline's own model.",
    )
    set: dict[str, Any] = Field(default={}, description="Configuration keys for every cell, as with --set.")


@dataclass(frozen=True)
class CellPlan:
    """One cell: a pipeline, the changes to its configuration, and the brand."""

    pipeline: str
    brand: str | None
    horizon: int | None
    model: str | None
    overrides: tuple[str, ...]

    @property
    def label(self) -> str:
        """Return the cell's name in messages and tables."""
        horizon = None if self.horizon is None else f"{self.horizon} days"
        return " × ".join(part for part in (self.pipeline, self.model, self.brand, horizon) if part)


def load_matrix(path: Path) -> list[CellPlan]:
    """Load the cells of a matrix file, in its order.

    Raises:
        UsageError: there is no such file.
        ConfigError: the file has problems; the message lists each with its line.
    """
    if not path.is_file():
        near = sorted(str(file) for file in path.parent.glob("[!.]*.yaml"))
        raise UsageError(
            "The matrix of sweeps does not exist",
            found=str(path),
            allowed=", ".join(near) or "a YAML file with `pipelines: [churn]`",
        )
    document = read(path, str(path))
    config, problems = check(MatrixConfig, document.root)
    if config is None or document.problems:
        raise refusal(f"The matrix {path}", [*document.problems, *problems])
    cells = list(_cells(config))
    if len(cells) > MOST_CELLS:
        raise UsageError(
            f"The matrix {path} has too many cells",
            found=len(cells),
            allowed=f"at most {MOST_CELLS}",
            next_step="split it into several files",
        )
    return cells


def _cells(config: MatrixConfig) -> Iterator[CellPlan]:
    common = _overrides(config.set)
    axes = config.pipelines, config.models or (None,), config.brands or (None,), config.horizons or (None,)
    for pipeline, model, brand, horizon in product(*axes):
        changes = [*common]
        if model is not None:
            # Emptied first: otherwise the mapping would be merged with the pipeline's own.
            changes += [f"{key}=" for key, value in config.models[model].items() if isinstance(value, dict)]
            changes += _overrides(config.models[model])
        if horizon is not None:
            changes.append(f"label.horizon_days={horizon}")
        yield CellPlan(pipeline, brand, horizon, model, tuple(changes))


def _overrides(values: dict[str, Any]) -> list[str]:
    # JSON is YAML, so every value keeps its type.
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]
