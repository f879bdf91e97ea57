"""Save and load the files of one model version, stored under the hash of their content and never as code.

    ROOT/ab/abcdef…/manifest.json     {"files": {"model.ubj": {"sha256": …, "size": …}, …}, "format": 5}
    ROOT/ab/abcdef…/model.ubj …

An artifact's identity is the SHA-256 of its manifest, which holds the SHA-256 of every file, so a single hash in
the registry vouches for every byte. ROOT is any fsspec path. Nothing is parsed before it is verified.
"""

import hashlib
import json
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import fsspec

from raypipe.errors import ConfigError, ModelError, OutdatedArtifact

MANIFEST = "manifest.json"
# Raise it when the content of an artifact changes. Earlier formats are refused, not converted.
FORMAT = 5
CODE_SUFFIXES = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# Pickle from protocol 2 on opens with PROTO and the protocol's number; joblib writes the same.
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x00-\xff]")


@dataclass(frozen=True)
class Artifact:
    """The place of a saved artifact.

    Attributes:
        sha256: the hash of its manifest.
    """

    uri: str
    sha256: str


@dataclass(frozen=True)
class Stored:
    """An artifact as its store lists it, or the remains of an interrupted save.

    Attributes:
        name: the hash; in a folder a dot and random digits after an interrupted save.
        bytes: the size of its files.
        written_at: the time of its newest part, UTC; None where the store does not tell.
    """

    uri: str
    name: str
    bytes: int
    written_at: datetime | None


def save(root: str, files: Mapping[str, bytes]) -> Artifact:
    """Store files as one artifact; saving the same files again changes nothing.

    Args:
        root: the artifacts' folder, any fsspec path.

    Raises:
        ModelError: a file could run code when loaded, has a name that is not plain, or cannot be written.
        ConfigError: there is no file system for the root.
    """
    manifest, sha256 = sealed(files)
    system, path = file_system(root)
    folder = posixpath.join(path, sha256[:2], sha256)
    artifact = Artifact(str(system.unstrip_protocol(folder)) if "://" in root else folder, sha256)
    if system.exists(posixpath.join(folder, MANIFEST)):
        load(artifact.uri, sha256)
        return artifact
    with file_errors("written", folder):
        if is_local(system):
            _write_local(folder, {**files, MANIFEST: manifest})
            return artifact
        # An object store has no rename; the manifest comes last, and without it there is no artifact.
        for name, content in {**files, MANIFEST: manifest}.items():
            system.pipe_file(posixpath.join(folder, name), content)
    return artifact


def load(
    root_or_uri: str, sha256: str, *, pipeline: str = "", version: str = "", copy_of: str = ""
) -> dict[str, bytes]:
    """Return the files of an artifact after verifying every byte.

    Args:
        root_or_uri: the artifact's own folder, or the root that it was saved under.
        sha256: its hash, from the registry.
        pipeline: the pipeline of the model, for errors.
        version: the model version, for errors.
        copy_of: the address that errors name instead of the folder, where the folder is a copy.

    Raises:
        ModelError: the artifact is missing, cannot be read, has another format, holds changed bytes, a file that its
            manifest does not list, or a file that could run code.
        ConfigError: there is no file system for the path.
    """
    require_hash(sha256)
    system, path = file_system(root_or_uri)
    is_own = copy_of or path.rstrip("/").endswith(sha256)
    folder = path.rstrip("/") if is_own else posixpath.join(path, sha256[:2], sha256)
    address = copy_of or folder
    with file_errors("read", folder):
        files, document = _verified(system, folder, address, sha256)
    if document.get("format") != FORMAT:
        raise _another_format(document, files, address, pipeline, version)
    return files


def sealed(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Return the manifest of an artifact's files, and its hash.

    Raises:
        ModelError: a file could run code when loaded, or has a name that is not plain.
    """
    for name, content in files.items():
        _refuse_code(name, content)
    listed = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)} for name, content in files.items()
    }
    manifest = json.dumps({"files": listed, "format": FORMAT}, sort_keys=True, separators=(",", ":")).encode()
    return manifest, hashlib.sha256(manifest).hexdigest()


def require_hash(sha256: str) -> None:
    """Refuse a text that is not the hash of an artifact, before it becomes a path."""
    if not _SHA256.match(sha256):
        raise ModelError("This is not the hash of an artifact", found=repr(sha256), allowed="64 hexadecimal digits")


def _verified(system: Any, folder: str, address: str, sha256: str) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """Return an artifact's files and its manifest, every byte verified."""
    try:
        manifest = system.cat_file(posixpath.join(folder, MANIFEST))
    except FileNotFoundError as error:
        raise ModelError(
            f"The artifact {sha256[:12]} is not there",
            found=f"no {MANIFEST} in {address}",
            next_step="let every node reach it, or fit a new version, with `artifacts: clickhouse` in the config",
        ) from error
    _require(f"{address}/{MANIFEST}", manifest, sha256)
    document = json.loads(manifest)
    listed: dict[str, dict[str, Any]] = document["files"]
    for name in listed:
        # A name is checked before it becomes a path, which must not lead out of the folder.
        refuse_name(name)
    _refuse_strangers(system, folder, address, set(listed))
    files = {name: _read(system, folder, address, name) for name in listed}
    for name, content in files.items():
        _require(f"{address}/{name}", content, listed[name]["sha256"])
        _refuse_code(name, content)
    return files, document


@contextmanager
def file_errors(done: str, folder: str) -> Iterator[None]:
    """Turn a file system's refusal, such as a missing permission or a full disk, into an error."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"The artifact cannot be {done}",
            found=f"{error.strerror or error}, in {folder}",
            next_step="check the permissions, the free space, and `artifacts` in the config",
        ) from error


def file_system(uri: str) -> tuple[Any, str]:
    """Return the fsspec file system of a path or URL, and the path on it.

    Raises:
        ConfigError: the protocol is unknown, or its package is not installed.
    """
    try:
        system, path = fsspec.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"There is no file system for {uri}",
            found=str(error),
            allowed="a path, or an fsspec URL such as s3://bucket/artifacts",
            next_step="install the file system's package on every node, or correct `artifacts` in the config",
        ) from error
    return system, path


def _write_local(folder: str, files: Mapping[str, bytes]) -> None:
    """Write a folder whole or not at all: under another name first, then renamed."""
    parent = os.path.dirname(folder)
    os.makedirs(parent, exist_ok=True)
    unfinished = os.path.join(parent, f".{uuid.uuid4().hex}")
    os.mkdir(unfinished)
    try:
        for name, content in files.items():
            with open(os.path.join(unfinished, name), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _rename(unfinished: str, folder: str) -> None:
    try:
        os.rename(unfinished, folder)
    except OSError:
        # Another process saved the same artifact first. Anything else is a real error.
        if not os.path.exists(os.path.join(folder, MANIFEST)):
            raise


def _read(system: Any, folder: str, address: str, name: str) -> bytes:
    try:
        content: bytes = system.cat_file(posixpath.join(folder, name))
    except FileNotFoundError as error:
        raise ModelError(
            "A file of the artifact is missing",
            found=f"no {address}/{name}",
            next_step="restore the file, or fit a new version",
        ) from error
    return content


def _require(path: str, content: bytes, sha256: str) -> None:
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ModelError(
            f"A file of the artifact was changed: {path}",
            found=f"sha256 {actual} ({len(content)} bytes)",
            allowed=f"sha256 {sha256}",
            next_step="restore the file, or fit a new version",
        )


def _refuse_strangers(system: Any, folder: str, address: str, listed: set[str]) -> None:
    present = {PurePosixPath(path).name for path in system.ls(folder, detail=False)}
    strangers = sorted(present - listed - {MANIFEST})
    if strangers:
        raise ModelError(
            "The artifact holds a file that its manifest does not list",
            found=", ".join(strangers),
            allowed=", ".join(sorted(listed)),
            next_step=f"remove the file from {address}",
        )


def refuse_name(name: str) -> None:
    """Refuse a name that is not plain, before it becomes a path."""
    if not _NAME.match(name) or name == MANIFEST:
        raise ModelError(
            "A file of an artifact must have a plain name",
            found=repr(name),
            allowed="letters, digits, dot, - and _",
            next_step="rename the file in the model's files()",
        )


def _refuse_code(name: str, content: bytes) -> None:
    refuse_name(name)
    if PurePosixPath(name).suffix.lower() in CODE_SUFFIXES or _PICKLE.match(content):
        raise ModelError(
            f"{name} is a pickle, which runs code when it is loaded",
            found=f"{content[:4]!r} …",
            allowed="formats without code, such as ubj, json, arrow, onnx or safetensors",
            next_step="let the model's files() write one of these formats",
        )


def _another_format(
    manifest: Mapping[str, Any], files: Mapping[str, bytes], address: str, pipeline: str, version: str
) -> OutdatedArtifact:
    """Name the version, its artifact and its model class, and the command that fits the version again."""
    family = json.loads(files["decision.json"]).get("family") if "decision.json" in files else None
    model_class = f", model class {family}" if family else ""
    subject = f"The artifact of {pipeline} {version}" if version else "The artifact"
    return OutdatedArtifact(
        f"{subject} was written by another version of raypipe",
        found=f"format {manifest.get('format', 1)}{model_class}, in {address}",
        allowed=f"format {FORMAT}",
        next_step=f"fit a new version with `raypipe fit {pipeline or 'PIPELINE'}`",
    )


def is_local(system: Any) -> bool:
    """Return whether a file system is this machine's own, which can rename folders."""
    return "file" in ((system.protocol,) if isinstance(system.protocol, str) else system.protocol)
