"""Reach XGBoost: its module, its errors, its warnings about parameters, and its files."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from raypipe.errors import ConfigError, ModelError
from raypipe.models.checks import required_file
from raypipe.models.xgboost_version import require_reader

_PLACE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")
_UNUSED = re.compile(r"Parameters: \{ (.*?) \} are not used")


def library() -> ModuleType:
    """Import XGBoost.

    Raises:
        ConfigError: XGBoost is not installed.
    """
    try:
        import xgboost
    except ImportError as error:
        raise ConfigError(
            "The model class needs XGBoost, which is not installed",
            next_step="pip install 'xgboost-cpu>=3.0' (the extra `xgboost`)",
        ) from error
    return xgboost


@contextmanager
def parameters_must_be_known(xgboost: ModuleType) -> Iterator[None]:
    """Turn XGBoost's warning about unused, and so perhaps misspelt, parameters into an error."""
    # XGBoost keeps its log callback per thread, and a worker of Ray Train imports and fits in different threads.
    xgboost.core._LIB.XGBRegisterLogCallback(xgboost.core._LIB.callback)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
    for warning in seen:
        unused = _UNUSED.search(str(warning.message))
        if unused:
            raise ConfigError(
                "XGBoost does not use a parameter of the fit",
                found=unused[1].replace('"', ""),
                allowed="parameters of the booster in use: https://xgboost.readthedocs.io/en/stable/parameter.html",
                next_step="correct its name in model.params, or remove it",
            )
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def refusal(problem: str, error: Exception) -> ModelError:
    """Return XGBoost's message without the time, the place in the C++ sources and the stack trace."""
    text = _PLACE.sub("", str(error).split("Stack trace:")[0])
    lines = [line for line in text.splitlines() if line.strip()]
    return ModelError(problem, found="\n".join(lines) or type(error).__name__, next_step="check model.params")


def read_booster(files: Mapping[str, bytes], name: str) -> Any:
    """Return the booster in an artifact's file.

    Pass verified bytes only, since XGBoost may crash on broken bytes.

    Raises:
        ModelError: the file is missing, is no model, or was written by a newer XGBoost.
    """
    xgboost = library()
    content = required_file(files, name)
    if not content.startswith(b"{"):
        # XGBoost ends the whole process on an empty buffer.
        raise ModelError(f"{name} is not an XGBoost model", found=f"{content[:8]!r} …", allowed="UBJSON")
    require_reader(content, xgboost.__version__)
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(content))
    except xgboost.core.XGBoostError as error:
        raise refusal(f"{name} is not an XGBoost model", error) from error
    return booster
