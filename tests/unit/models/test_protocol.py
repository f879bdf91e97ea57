from __future__ import annotations

from typing import ClassVar

import pytest

from raypipe.errors import ConfigError
from raypipe.models.protocol import Family, load_family, load_matrix_family

HERE = "raypipe.models.protocol"


def test_a_family_is_found_by_its_dotted_path() -> None:
    assert isinstance(load_family("raypipe.models.xgboost:XGBoost"), Family)


@pytest.mark.parametrize("path", ["", "raypipe.models.xgboost", "raypipe.models.xgboost:", ":XGBoost", "a:b.c"])
def test_what_is_no_dotted_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="dotted path"):
        load_family(path)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.models") as caught:
        load_family("nowhere.models:Mine")
    assert "PYTHONPATH" in str(caught.value)


def test_a_missing_class_shows_those_that_are_there() -> None:
    with pytest.raises(ConfigError, match="XGBoots") as caught:
        load_family("raypipe.models.xgboost:XGBoots")
    assert "XGBoost," in str(caught.value)


def test_a_class_that_is_no_family_is_told_what_it_lacks() -> None:
    with pytest.raises(ConfigError, match="is not a Family") as caught:
        load_family("threading:Event")
    assert "from_files" in str(caught.value)


def test_a_class_without_one_member_is_told_which_it_is() -> None:
    with pytest.raises(ConfigError, match="is not a Family") as caught:
        load_family(f"{__name__}:Unchecked")
    assert caught.value.found == "no check"


class Unchecked:
    """A family but for `check`."""

    framework = algorithm = format = fitter = tries = ""
    scores_without = ()
    explains = is_linear = False
    default_rounds = 1
    space: ClassVar[dict[str, dict[str, list[int]]]] = {}

    def from_files(self, files: object) -> None:
        """Return nothing."""


def test_a_family_that_fits_on_no_matrix_is_refused_where_a_matrix_is_fitted() -> None:
    path = "raypipe.recommend.hybrid:HybridRecommender"
    assert isinstance(load_family(path), Family)
    with pytest.raises(ConfigError, match="is not a MatrixFamily") as caught:
        load_matrix_family(path)
    assert caught.value.found == "no ray_backend, fit"


def test_a_class_with_arguments_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be constructed"):
        load_family(f"{HERE}:Matrix")
