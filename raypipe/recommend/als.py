"""Factorise interactions by alternating least squares with the library implicit.

Hu, Koren & Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets": an observed pair has the preference
1 with confidence 1 + alpha · weight, every other pair has the preference 0 with confidence 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError, ModelError
from raypipe.recommend.interactions import Interactions
from raypipe.recommend.parameters import AlsParameters

Array = npt.NDArray[Any]


def item_factors(interactions: Interactions, params: AlsParameters, threads: int = 0) -> Array:
    """Fit the factors of all items of the catalogue, (items, factors), float32; 0 for an item without readers.

    Args:
        threads: CPU threads; 0 means all cores.

    Raises:
        ModelError: the factorisation did not converge to finite numbers.
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
    """Compute users' factors from their histories and fixed item factors.

    It repeats the least squares step of the fit, so that users' factors need not be stored. Threads may share it.

    Args:
        factors: (items, factors), float32.
    """

    def __init__(self, factors: Array, params: AlsParameters) -> None:
        self._alpha = np.float32(params.alpha)
        with one_blas_thread():
            self._model = _model(_library(), params, threads=1)
            # The library asks for a writable buffer, which factors read from a file are not.
            self._model.item_factors = np.require(factors, np.float32, ["C", "W"])
            self._model.YtY  # noqa: B018 computed and cached here, before several threads need it

    def __call__(self, histories: Any) -> Array:
        """Return factors (users, factors) for a csr_matrix (users, items) of weights; 0 for an empty history."""
        confidence = histories.copy()
        confidence.data = 1 + self._alpha * confidence.data
        try:
            factors = self._model.recalculate_user(np.arange(histories.shape[0]), confidence)
        except ValueError as error:
            raise ModelError("Users' factors cannot be computed from their histories", found=str(error)) from error
        return np.asarray(factors, np.float32)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread: together with implicit's own threads it would be many times slower."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401 SciPy has its own BLAS, which is only found after it is loaded
    from threadpoolctl import ThreadpoolController

    # The search for the libraries takes milliseconds, so it is done once.
    return ThreadpoolController()


def _model(library: Any, params: AlsParameters, threads: int) -> Any:
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
            "Recommendations need the library implicit, which cannot be imported",
            found=str(error),
            next_step="pip install 'implicit>=0.7.2' (the extra `als`); it needs libgomp.so.1, in Debian's libgomp1",
        ) from error
    return implicit
