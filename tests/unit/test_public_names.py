import subprocess
import sys

import pytest

import raypipe


@pytest.mark.parametrize("name", sorted(raypipe._PUBLIC))
def test_every_public_name_is_there(name: str) -> None:
    assert callable(getattr(raypipe, name))
    assert name in dir(raypipe)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="read_everything"):
        _ = raypipe.read_everything


def test_importing_raypipe_does_not_import_ray() -> None:
    code = "import sys, raypipe; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
