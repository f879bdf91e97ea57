"""Test listing and removing artifacts, on a local folder and on a file system without renames."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from raypipe.artifact import files, folders
from raypipe.errors import ModelError

FILES = {"model.ubj": b"trees", "contract.json": b"{}"}


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "artifacts")
        return
    place = f"memory://{uuid.uuid4().hex}/artifacts"
    yield place
    system, path = fsspec.url_to_fs(place)
    if system.exists(path):
        system.rm(path, recursive=True)


def test_a_folder_that_is_not_there_holds_nothing(root: str) -> None:
    assert folders.artifact_folders(root) == []


def test_what_was_saved_is_found_with_its_size_and_age(root: str) -> None:
    saved = files.save(root, FILES)
    (found,) = folders.artifact_folders(root)
    assert (found.uri, found.name) == (saved.uri, saved.sha256)
    assert found.bytes > sum(map(len, FILES.values()))
    assert found.written_at is not None
    assert abs(found.written_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_removed_artifact_is_gone_whole_and_can_be_saved_again(root: str) -> None:
    saved, other = files.save(root, FILES), files.save(root, {"model.ubj": b"others"})
    assert folders.remove(saved.uri)
    assert not folders.remove(saved.uri)
    assert [folder.name for folder in folders.artifact_folders(root)] == [other.sha256]
    with pytest.raises(ModelError, match="is not there"):
        files.load(root, saved.sha256)
    assert files.save(root, FILES) == saved
    assert set(files.load(root, saved.sha256)) == set(FILES)


def test_what_has_not_the_layout_of_an_artifact_is_neither_listed_nor_removed(root: str) -> None:
    system, path = fsspec.url_to_fs(root)
    for name in ("notes.txt", "ab/notes.txt", f"ab/{'c' * 64}/model.ubj", f"cc/{'c' * 63}/model.ubj"):
        system.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{path}/{name}", b"mine")
    assert folders.artifact_folders(root) == []
    for folder in ("", "/ab", f"/ab/{'c' * 64}"):
        with pytest.raises(ModelError, match="nothing was removed"):
            folders.remove(root + folder)
    assert system.cat_file(f"{path}/ab/notes.txt") == b"mine"


def test_what_an_interrupted_save_left_is_listed(tmp_path: Path) -> None:
    unfinished = tmp_path / "ab" / f".{uuid.uuid4().hex}"
    unfinished.mkdir(parents=True)
    (unfinished / "model.ubj").write_bytes(b"tre")
    os.utime(unfinished / "model.ubj", (0, 0))
    (found,) = folders.artifact_folders(str(tmp_path))
    assert (found.bytes, found.written_at) == (3, datetime(1970, 1, 1, tzinfo=UTC))
    assert folders.remove(found.uri)
    assert folders.artifact_folders(str(tmp_path)) == []
