"""Define the families that fit models, and load a family by its dotted path.

A family is a class with a constructor without arguments, named in a config as `module:Class`. It may live in any
package. It fits on matrices, never on tables: the feature contract has turned the tables into matrices.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, cast, runtime_checkable

from raypipe.errors import ConfigError
from raypipe.models.model import FloatArray, Matrix, Model

# Called after each round with the number of rounds, and a function that scores the validation rows by now.
OnRound = Callable[[int, Callable[[], FloatArray]], None]


@dataclass(frozen=True)
class FitSpec:
    """The settings of a fit.

    Attributes:
        kind: the label's kind, `binary` (the scores must be probabilities), `number` or `classes`; `none` without a
            label.
        classes: the names of the classes, in the order of their numbers in `Matrix.y`; empty for other labels.
        score_range: the lowest and the highest possible label, if the label is a number and the config states them.
        monotone: per column 1 (the score may only rise with it), -1 (only fall) or 0; empty means no constraint.
        params: the library's own parameters, passed on unchanged; they take precedence over derived parameters.
        early_stopping_rounds: rounds without a gain on the validation rows before the fit stops; 0 never stops.
        balance: `none`, or `scale_pos_weight` to weigh positives by negatives / positives.
        threads: CPU threads of one worker; 0 leaves the number to the library.
        refits: whether the model may learn from the validation rows, too, if the history then has scores of them by
            models that did not.
        on_round: called after each round by a family that has rounds; a sweep stops bad trials in it.
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
    refits: bool = False
    classes: tuple[str, ...] = ()
    score_range: tuple[float, float] | None = None
    kind: str = field(kw_only=True)


@dataclass(frozen=True)
class History:
    """The course of a fit.

    Attributes:
        rows: the training rows of all workers together.
        rounds: the rounds that the model keeps.
        curves: the metrics of each set of rows after every round: `{"validation": {"logloss": […]}}`.
        held_out: the predictions of the training rows, then of the validation rows, by models that did not learn from
            them; None where the model did not learn from the validation rows.
    """

    rows: int
    rounds: int
    curves: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)
    held_out: FloatArray | None = None

    def to_json(self) -> dict[str, Any]:
        """Return rows, rounds and curves as JSON-ready values."""
        return {
            "rows": self.rows,
            "rounds": self.rounds,
            "curves": {name: dict(of) for name, of in self.curves.items()},
        }


@runtime_checkable
class Family(Protocol):
    """A kind of model, which reads its models' files. Families inherit the defaults of the optional attributes.

    Attributes:
        scores_without: modules that the library imports if they are installed, but does not need for scoring: a
            process that only scores, such as a scoring actor, does not load them.
        explains: whether its models have explanations.
        is_linear: whether its models are linear, so that a linear baseline would only repeat them.
        default_rounds: the rounds of a fit whose config names none.
        fitter: the module with the `fit_version` that fits and judges its versions.
        tries: the key of the config that takes several values, which every fit compares; empty for no key.
        space: the search space of a sweep whose config names none, as in `sweep.space`.
    """

    framework: str
    algorithm: str
    format: str
    scores_without: tuple[str, ...] = ()
    explains: bool = True
    is_linear: bool = False
    default_rounds: int = 300
    fitter: str = "raypipe.fit.labelled"
    tries: str = ""
    space: Mapping[str, Mapping[str, list[Any]]] = MappingProxyType({})

    def check(self, params: Mapping[str, Any], kind: str) -> None:
        """Refuse parameters that the family does not know or that contradict the label, before any row is read.

        A family that inherits this accepts every parameter.

        Args:
            kind: the label's kind, as in `FitSpec`.

        Raises:
            ConfigError: a name is unknown, or the family has no model for such a label.
        """

    def from_files(self, files: Mapping[str, bytes]) -> Model:
        """Load a model from the files that `Model.files` returned.

        Raises:
            ModelError: the files do not hold a model of this family.
        """
        ...


@runtime_checkable
class MatrixFamily(Family, Protocol):
    """A family that fits on a matrix. A family with a `fitter` of its own may fit on anything else.

    Attributes:
        ray_backend: the Ray Train backend that joins several workers, as `module:Class` of a
            `ray.train.backend.BackendConfig`; None for a family that fits in one process.
    """

    ray_backend: str | None = None

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[Model, History]:
        """Fit on this worker's share of the training rows and on all validation rows.

        Several workers call it at the same time, joined by the backend, and all return the same model.
        """
        ...


def load_class(path: str, purpose: str) -> type:
    """Import the class that a dotted path `module:Class` names.

    Raises:
        ConfigError: there is no such class, or its module cannot be imported.
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
    loaded = getattr(module, class_name, None)
    if not isinstance(loaded, type):
        classes = sorted(name for name, value in vars(module).items() if _is_own_class(value, module_name))
        raise ConfigError(
            f"{purpose} names a class that {module_name} does not have",
            found=class_name,
            allowed=", ".join(classes) or "a module with a class",
        )
    return loaded


def load_family(path: str) -> Family:
    """Load the family that a config names, such as `raypipe.models.xgboost:XGBoost`.

    Raises:
        ConfigError: there is no such class, its constructor needs arguments, or it is not a family.
    """
    family_class = load_class(path, "model.class")
    try:
        family = family_class()
    except TypeError as error:
        raise ConfigError(
            f"The model class {path} cannot be constructed", found=str(error), allowed="a constructor without arguments"
        ) from error
    _require_members(path, family, Family)
    return cast(Family, family)


def load_matrix_family(path: str) -> MatrixFamily:
    """Load a family that fits on a matrix.

    Raises:
        ConfigError: the family cannot be loaded, or it does not fit on a matrix.
    """
    family = load_family(path)
    _require_members(path, family, MatrixFamily)
    return cast(MatrixFamily, family)


def _require_members(path: str, family: object, protocol: type) -> None:
    if isinstance(family, protocol):
        return
    bases = protocol.__mro__[::-1]
    stated = (name for base in bases for name in (*inspect.get_annotations(base), *vars(base)))
    members = dict.fromkeys(name for name in stated if not name.startswith("_"))
    raise ConfigError(
        f"The model class {path} is not a {protocol.__name__}",
        found=f"no {', '.join(name for name in members if not hasattr(family, name))}",
        allowed=f"a class that inherits from raypipe.models.protocol.{protocol.__name__}",
    )


def _is_own_class(value: object, module: str) -> bool:
    return isinstance(value, type) and value.__module__ == module and not value.__name__.startswith("_")
