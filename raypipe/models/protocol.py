"""What raypipe asks of a model, and how a config names the class that fits one.

A family is a class with a constructor without arguments, named in a config as `module:Class`. It may live in
anybody's package. It fits on matrices, never on tables: the feature contract has made them before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.errors import ConfigError

FloatArray = npt.NDArray[np.float32]
# Told after a round how many are done, and what scores the validation rows with the model as it is by then.
OnRound = Callable[[int, Callable[[], FloatArray]], None]


@dataclass(frozen=True)
class Matrix:
    """Rows to fit on.

    Attributes:
        x: (rows, features), C order; NaN is a missing value.
        y: (rows,), the label; 0 or 1 for a binary one.
    """

    x: FloatArray
    y: FloatArray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Matrix:
        """The rows at the given positions."""
        return Matrix(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class FitSpec:
    """What a family is told about the fit besides its rows.

    Attributes:
        columns: the names of the matrix's columns, in order.
        monotone: per column 1 (the score may only rise with it), -1 (only fall) or 0; empty means none.
        params: the library's own parameters, passed on as they are; they win over what raypipe derives.
        rounds: the number of boosting rounds or iterations.
        early_stopping_rounds: stop after so many rounds without a gain on the validation rows; 0 never stops.
        balance: `none`, or `scale_pos_weight` to weigh positives by negatives / positives.
        seed: of everything random.
        threads: CPU threads of one worker; 0 leaves it to the library.
        on_round: told after each round, by a family that has rounds; a sweep stops a bad trial by it.
    """

    columns: tuple[str, ...]
    monotone: tuple[int, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 100
    early_stopping_rounds: int = 0
    balance: str = "none"
    seed: int = 0
    threads: int = 0
    on_round: OnRound | None = None


@dataclass(frozen=True)
class History:
    """How a fit went.

    Attributes:
        rows: the training rows of all workers together.
        rounds: the rounds that the model holds.
        curves: per set and metric, its value after each round that was run: `{"validation": {"logloss": […]}}`.
    """

    rows: int
    rounds: int
    curves: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)


@runtime_checkable
class Model(Protocol):
    """A fitted model. One process uses it from one thread."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Scores of shape (rows,) for a matrix of shape (rows, features)."""
        ...

    def explain(self, x: FloatArray) -> FloatArray:
        """What each feature adds to each score, (rows, features), in the units of the model's raw output.

        Raises:
            ModelError: this model has no explanations.
        """
        ...

    def importance(self) -> FloatArray:
        """The weight of each feature, (features,), not negative, with the sum 1 (0 for a constant model)."""
        ...

    def files(self) -> dict[str, bytes]:
        """The model in formats that cannot run code when read."""
        ...

    def set_threads(self, threads: int) -> None:
        """How many CPU threads scoring may use."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows to score, for a model that wants more than a matrix.

    Attributes:
        x: (rows, features), as `Model.predict` gets it.
        inputs: the columns of features.sql that the config lists as `inputs`, (rows,) each, as ClickHouse sent them.
        at: the end of the day that is scored, with its zone.
    """

    x: FloatArray
    inputs: Mapping[str, pa.Array]
    at: datetime


@dataclass(frozen=True)
class Answer:
    """What a model says of rows.

    Attributes:
        scores: (rows,), float32; a row whose score is not finite is rejected.
        columns: the model's output columns by name, (rows,) each.
    """

    scores: FloatArray
    columns: Mapping[str, pa.Array] = field(default_factory=dict)


@runtime_checkable
class WideModel(Model, Protocol):
    """A model whose answer is more than a score: a cluster's number, a list of articles.

    Attributes:
        outputs: the columns of its answers, in order, with their ClickHouse types; publish.sql finds them in staging.
        values: what publish.sql may bind beside the run's own parameters, JSON-ready: names of clusters, for example.
    """

    outputs: Mapping[str, str]
    values: Mapping[str, Any]

    def answer(self, rows: Rows) -> Answer:
        """The scores and the output columns of a batch of rows."""
        ...


def answer(model: Model, rows: Rows) -> Answer:
    """What any model says of rows."""
    return model.answer(rows) if isinstance(model, WideModel) else Answer(model.predict(rows.x))


@runtime_checkable
class Family(Protocol):
    """A way to fit a kind of model.

    More attributes may be there: `fitter`, the module whose `fit_version` fits it, of a family that does not learn
    from labels; `explains = False` of one whose models have no explanations; `is_linear = True` of one that a
    linear baseline would only repeat.

    Attributes:
        framework: the library, such as `xgboost`.
        algorithm: such as `gradient boosted trees`.
        format: the format of its files, such as `ubj`.
        ray_backend: the Ray Train backend that joins several workers, as `module:Class` of a
            `ray.train.backend.BackendConfig`; None for a family that fits in one process.
        scores_without: modules that its library imports where they are installed, and that its models do without:
            a process that only scores, as every scoring actor is, does not load them.
    """

    framework: str
    algorithm: str
    format: str
    ray_backend: str | None
    scores_without: tuple[str, ...]

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse parameters that the family does not know, before any row is read.

        Raises:
            ConfigError: a name is unknown.
        """
        ...

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[Model, History]:
        """Fits on this worker's share of the training rows and on all validation rows.

        With several workers each is called at once, with the backend's collective in place, and all
        return the same model.
        """
        ...

    def from_files(self, files: Mapping[str, bytes]) -> Model:
        """The model again, from what `Model.files` gave.

        Raises:
            ModelError: the files do not hold a model of this family.
        """
        ...


def explains(family: str) -> bool:
    """Whether the models of a family, named by its dotted path, have explanations."""
    return bool(getattr(load_family(family), "explains", True))


def load_class(path: str, purpose: str) -> type:
    """The class that a dotted path `module:Class` names.

    Args:
        path: the dotted path.
        purpose: what it is for, to name it in an error.

    Raises:
        ConfigError: there is no such module or class, or the module cannot be imported.
    """
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name.isidentifier():
        raise ConfigError(f"{purpose} is not a dotted path", found=repr(path), allowed="module:Class")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} names a module that cannot be imported: {module_name}",
            found=str(error),
            next_step="correct the name, install the package, or add its folder to PYTHONPATH",
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = sorted(name for name, value in vars(module).items() if _is_own_class(value, module_name))
        raise ConfigError(
            f"{purpose} names a class that {module_name} does not have",
            found=class_name,
            allowed=", ".join(classes) or "a class of that module; it has none",
        )
    return found


def load_family(path: str) -> Family:
    """The family that a config names, as `raypipe.models.xgboost:XGBoost`.

    Raises:
        ConfigError: nothing is there, it cannot be made without arguments, or it is not a family.
    """
    found = load_class(path, "model.class")
    try:
        family = found()
    except TypeError as error:
        raise ConfigError(
            f"The model class {path} cannot be made", found=str(error), allowed="a constructor without arguments"
        ) from error
    if not isinstance(family, Family):
        missing = [name for name in _FAMILY_MEMBERS if not hasattr(family, name)]
        raise ConfigError(
            f"The model class {path} is not a model family",
            found=f"it lacks {', '.join(missing)}",
            allowed=f"a class with {', '.join(_FAMILY_MEMBERS)} (raypipe.models.protocol.Family)",
        )
    return family


_FAMILY_MEMBERS = ("framework", "algorithm", "format", "ray_backend", "check", "fit", "from_files")


def _is_own_class(value: object, module: str) -> bool:
    return isinstance(value, type) and value.__module__ == module and not value.__name__.startswith("_")
