"""Implicit alternating least squares with the library implicit: item factors, and a user's factors from a history.

Hu, Koren & Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets": a pair that was seen has the
preference 1 with confidence 1 + alpha · weight, every other pair the preference 0 with confidence 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError, ModelError
from raypipe.recommend.interactions import Interactions

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Factorisation:
    """The parameters of the factorisation.

    Attributes:
        factors: the length of a vector.
        regularization: λ, above 0.
        alpha: how much confidence a weight adds.
        iterations: of the alternation.
        seed: of the factors that it starts from.
    """

    factors: int = 64
    regularization: float = 1.0
    alpha: float = 10.0
    iterations: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("factors", 1), ("iterations", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"als.{name} cannot be used", found=value, allowed=f"a whole number from {least}")
        for name in ("regularization", "alpha"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value < np.inf:
                raise ConfigError(f"als.{name} cannot be used", found=value, allowed="a number above 0")


def item_factors(interactions: Interactions, params: Factorisation, threads: int = 0) -> Array:
    """Fits the factors of all items of the catalogue, (items, factors), float32; 0 for an item nobody read.

    Args:
        interactions: the pairs to fit on; none at all is fine.
        params: of the factorisation.
        threads: 0 for all cores.

    Raises:
        ModelError: the factorisation did not come to finite numbers.
    """
    if not len(interactions):
        return np.zeros((interactions.item_count, params.factors), np.float32)
    library = _library()
    confidence = interactions.matrix()
    confidence.data = 1 + np.float32(params.alpha) * confidence.data
    with one_blas_thread():
        model = _model(library, params, threads)
        try:
            model.fit(confidence, show_progress=False)
        except (library.utils.ModelFitError, ValueError) as error:
            raise ModelError(
                "The factorisation failed",
                found=str(error),
                next_step="check the interactions' weights, or raise als.regularization",
            ) from error
    return np.ascontiguousarray(model.item_factors, np.float32)


class FoldIn:
    """Users' factors from their histories, with the item factors as they are.

    Exactly the least squares step of the fit, so that no user's factors need to be kept. Threads may share one.

    Args:
        factors: (items, factors), float32.
        params: those of the fit.
    """

    def __init__(self, factors: Array, params: Factorisation) -> None:
        self._alpha = np.float32(params.alpha)
        with one_blas_thread():
            self._model = _model(_library(), params, threads=1)
            # The library asks for a writable buffer, which factors read from a file are not.
            self._model.item_factors = np.require(factors, np.float32, ["C", "W"])
            self._model.YtY  # noqa: B018 computed and kept here, before threads ask for it at once

    def __call__(self, histories: Any) -> Array:
        """Factors (users, factors), float32, of a csr_matrix (users, items) of weights; 0 for an empty history."""
        confidence = histories.copy()
        confidence.data = 1 + self._alpha * confidence.data
        try:
            factors = self._model.recalculate_user(np.arange(histories.shape[0]), confidence)
        except ValueError as error:
            raise ModelError("Users' factors cannot be computed from their histories", found=str(error)) from error
        return np.asarray(factors, np.float32)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, BLAS uses one thread: implicit has threads of its own, and the two together are many times slower."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401 brings a BLAS of its own, which has to be loaded to be found
    from threadpoolctl import ThreadpoolController

    # Looking for the libraries takes milliseconds, setting their threads nothing.
    return ThreadpoolController()


def _model(library: Any, params: Factorisation, threads: int) -> Any:
    return library.cpu.als.AlternatingLeastSquares(
        factors=params.factors,
        regularization=params.regularization,
        iterations=params.iterations,
        random_state=params.seed,
        num_threads=threads,
        dtype=np.float32,
    )


def _library() -> Any:
    try:
        import implicit.cpu.als
        import implicit.utils
    except ImportError as error:
        raise ConfigError(
            "Recommendations need the library implicit, which is not installed",
            next_step="pip install 'implicit>=0.7.2' (the extra `als`)",
        ) from error
    return implicit
