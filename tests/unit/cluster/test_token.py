"""Test the sources of Ray's token, their order, and the errors for a missing token."""

from __future__ import annotations

from pathlib import Path

import pytest

from raypipe.cluster import token
from raypipe.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-the-home\n")
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "value"),
    [
        ({"RAY_AUTH_TOKEN": " of-the-variable\n", "RAY_AUTH_TOKEN_PATH": "named"}, "of-the-variable"),
        ({"RAY_AUTH_TOKEN_PATH": "named"}, "of-the-file"),
        ({"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": ""}, "of-the-home"),
        ({}, "of-the-home"),
    ],
)
def test_the_variable_outweighs_the_file_that_is_named_and_that_the_default_one(
    home: Path, variables: dict[str, str], value: str
) -> None:
    (home / "named").write_text("of-the-file")
    if variables.get("RAY_AUTH_TOKEN_PATH"):
        variables = {**variables, "RAY_AUTH_TOKEN_PATH": str(home / "named")}
    found = token.find({"HOME": str(home), **variables})
    assert found is not None
    assert found.value == value
    assert value not in repr(found)


def test_there_may_be_none(tmp_path: Path) -> None:
    assert token.find({"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_that_was_named_must_hold_one(home: Path, content: bytes | None) -> None:
    named = home / "named"
    if content is not None:
        named.write_bytes(content)
    with pytest.raises(ConfigError, match=str(named)):
        token.find({"HOME": str(home), "RAY_AUTH_TOKEN_PATH": str(named)})
