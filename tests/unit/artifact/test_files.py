from __future__ import annotations

import hashlib
import json
import pickle
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from raypipe.artifact import folders
from raypipe.artifact.files import load, save
from raypipe.errors import ConfigError, ModelError

FILES = {"model.ubj": b"{trees}" * 100, "contract.json": b'{"features": []}', "golden.arrow": b""}


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A local folder, and a store without renames."""
    if request.param == "local":
        yield str(tmp_path / "artifacts")
        return
    yield f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").store.clear()


def test_what_was_saved_is_loaded_from_the_root_and_from_the_uri(root: str) -> None:
    artifact = save(root, FILES)
    assert load(root, artifact.sha256) == FILES
    assert load(artifact.uri, artifact.sha256) == FILES


def test_the_place_follows_from_the_content(root: str) -> None:
    artifact = save(root, FILES)
    assert artifact.uri.endswith(f"/{artifact.sha256[:2]}/{artifact.sha256}")
    assert save(root, {**FILES, "golden.arrow": b"x"}).sha256 != artifact.sha256
    assert save(root, dict(reversed(FILES.items()))) == artifact


def test_the_manifest_lists_hash_and_size_of_each_file(tmp_path: Path) -> None:
    manifest = json.loads((Path(save(str(tmp_path), FILES).uri) / "manifest.json").read_text())
    assert manifest["files"]["contract.json"]["size"] == 16
    assert set(manifest["files"]) == set(FILES)


def test_many_savers_of_the_same_content_leave_one_artifact(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: save(str(tmp_path), FILES), range(24)))
    (artifact,) = made
    assert load(artifact.uri, artifact.sha256) == FILES
    assert [path.name for path in Path(artifact.uri).parent.iterdir()] == [artifact.sha256]


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"golden.arrow"}))
def test_one_flipped_byte_is_refused_with_both_hashes(tmp_path: Path, name: str) -> None:
    artifact = save(str(tmp_path), FILES)
    path = Path(artifact.uri) / name
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=name) as caught:
        load(artifact.uri, artifact.sha256)
    assert str(caught.value).count("sha256 ") == 2


def test_a_flipped_byte_in_the_manifest_is_refused(tmp_path: Path) -> None:
    artifact = save(str(tmp_path), FILES)
    path = Path(artifact.uri) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"size":16', b'"size":17'))
    with pytest.raises(ModelError, match=r"manifest\.json"):
        load(artifact.uri, artifact.sha256)


def test_an_exchanged_artifact_is_refused(tmp_path: Path) -> None:
    artifact, other = save(str(tmp_path), FILES), save(str(tmp_path), {"model.ubj": b"{other}"})
    (Path(artifact.uri) / "manifest.json").write_bytes((Path(other.uri) / "manifest.json").read_bytes())
    with pytest.raises(ModelError, match=r"manifest\.json"):
        load(artifact.uri, artifact.sha256)


def test_saving_over_a_damaged_artifact_is_refused(tmp_path: Path) -> None:
    artifact = save(str(tmp_path), FILES)
    (Path(artifact.uri) / "model.ubj").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.ubj"):
        save(str(tmp_path), FILES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    artifact = save(str(tmp_path), FILES)
    (Path(artifact.uri) / "model.ubj").unlink()
    with pytest.raises(ModelError, match=r"model\.ubj"):
        load(artifact.uri, artifact.sha256)


def test_a_file_beside_the_manifest_is_refused(tmp_path: Path) -> None:
    artifact = save(str(tmp_path), FILES)
    (Path(artifact.uri) / "extra.json").write_text("{}")
    with pytest.raises(ModelError, match=r"extra\.json"):
        load(artifact.uri, artifact.sha256)


def test_an_unfinished_artifact_is_not_there(root: str) -> None:
    artifact = save(root, FILES)
    system, folder = fsspec.url_to_fs(artifact.uri)
    system.rm_file(f"{folder}/manifest.json")
    with pytest.raises(ModelError, match="not there"):
        load(root, artifact.sha256)


@pytest.mark.parametrize("sha256", ["", "abc", "../../etc/passwd", "G" * 64])
def test_what_is_no_hash_is_refused(root: str, sha256: str) -> None:
    with pytest.raises(ModelError, match="hash"):
        load(root, sha256)


@pytest.mark.parametrize("name", ["model.pkl", "model.PICKLE", "model.joblib", "model.pt"])
def test_a_pickle_by_name_is_refused(root: str, name: str) -> None:
    with pytest.raises(ModelError, match="pickle"):
        save(root, {name: b"{}"})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_by_content_is_refused(root: str, protocol: int) -> None:
    with pytest.raises(ModelError, match="pickle"):
        save(root, {"model.ubj": pickle.dumps({"a": 1}, protocol=protocol)})


def test_a_pickle_that_stands_in_a_valid_artifact_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("raypipe.artifact.files._refuse_code", lambda name, content: None)
        artifact = save(str(tmp_path), {"model.ubj": pickle.dumps([1])})
    with pytest.raises(ModelError, match="pickle"):
        load(artifact.uri, artifact.sha256)


@pytest.mark.parametrize("name", ["../model.ubj", "a/b.json", ".hidden", "", "manifest.json", "a b"])
def test_a_name_that_is_not_plain_is_refused(root: str, name: str) -> None:
    with pytest.raises(ModelError, match="plain name"):
        save(root, {name: b"{}"})


@pytest.mark.parametrize("name", ["../../secret.json", "/etc/hostname", "a/../../secret.json"])
def test_a_manifest_that_leads_out_of_the_folder_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.json").write_bytes(b"secret")
    listed = {name: {"sha256": hashlib.sha256(b"secret").hexdigest(), "size": 6}}
    manifest = json.dumps({"files": listed}).encode()
    sha256 = hashlib.sha256(manifest).hexdigest()
    folder = tmp_path / sha256[:2] / sha256
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    # It would be told that the file is gone, or that its bytes are others, had it been looked for.
    with pytest.raises(ModelError, match="plain name"):
        load(str(tmp_path), sha256)


def test_a_file_system_that_refuses_is_named_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written") as refused:
        save(str(tmp_path / "file"), FILES)
    assert str(tmp_path / "file") in str(refused.value)
    assert isinstance(refused.value.__cause__, OSError)


@pytest.mark.parametrize("name", ["manifest.json", "model.ubj"])
def test_a_file_that_cannot_be_read_is_no_missing_artifact(tmp_path: Path, name: str) -> None:
    artifact = save(str(tmp_path), FILES)
    (Path(artifact.uri) / name).unlink()
    (Path(artifact.uri) / name).mkdir()
    with pytest.raises(ModelError, match="cannot be read") as refused:
        load(artifact.uri, artifact.sha256)
    assert f"Is a directory, in {artifact.uri}" in str(refused.value)


@pytest.mark.parametrize("root", ["nosuch://bucket/artifacts", "nosuch::memory://artifacts"])
def test_a_root_without_a_file_system_says_what_to_do(root: str) -> None:
    for ask in (lambda: save(root, FILES), lambda: load(root, "ab" * 32), lambda: folders.artifact_folders(root)):
        with pytest.raises(ConfigError, match="no file system") as refused:
            ask()
        assert "`artifacts` in the config" in str(refused.value)
