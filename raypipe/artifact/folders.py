"""List and remove the folders of all artifacts under a root, on any fsspec path.

Only folders with the layout of an artifact are looked at: ROOT/ab/abcdef…/ and the unfinished ROOT/ab/.0123…/.
"""

import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from raypipe.artifact.files import MANIFEST, Stored, file_system, is_local
from raypipe.errors import ModelError

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\Z")
# Each file system has its own name for the time of writing; the one in memory has the time of creation.
_WRITTEN = ("mtime", "LastModified", "last_modified", "updated", "created")


def artifact_folders(root: str) -> list[Stored]:
    """List the artifacts under a root, with the remains of interrupted saves."""
    system, path = file_system(root)
    if not system.exists(path):
        return []
    folders: dict[str, list[Mapping[str, Any]]] = {}
    for file, info in system.find(path, detail=True).items():
        folder = posixpath.dirname(file)
        if _is_artifact(folder):
            folders.setdefault(folder, []).append(info)
    # A path without its protocol would be a path of this machine.
    prefixed = "://" in root
    return [
        _described(str(system.unstrip_protocol(folder)) if prefixed else folder, infos)
        for folder, infos in sorted(folders.items())
    ]


def remove(uri: str) -> bool:
    """Remove an artifact's folder, and return whether there was one.

    Raises:
        ModelError: the path is not the folder of an artifact.
    """
    system, path = file_system(uri)
    path = path.rstrip("/")
    if not _is_artifact(path):
        raise ModelError(
            "This is not the folder of an artifact, so nothing was removed",
            found=uri,
            allowed="ROOT/ab/abcdef…, as raypipe makes it",
        )
    if not system.exists(path):
        return False
    if is_local(system):
        # After the rename a reader no longer finds half an artifact, and the same content can be saved again at once.
        unfinished = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}")
        os.rename(path, unfinished)
        shutil.rmtree(unfinished)
        return True
    manifest = posixpath.join(path, MANIFEST)
    if system.exists(manifest):
        # An object store cannot rename, but a folder without its manifest is no artifact.
        system.rm_file(manifest)
    system.rm(path, recursive=True)
    return True


def _is_artifact(folder: str) -> bool:
    path = PurePosixPath(folder)
    shelf = path.parent.name
    if _SHA256.match(path.name):
        return path.name[:2] == shelf
    return bool(_UNFINISHED.match(path.name) and re.match(r"[0-9a-f]{2}\Z", shelf))


def _described(uri: str, infos: Sequence[Mapping[str, Any]]) -> Stored:
    times = [_written(info) for info in infos]
    known = [time for time in times if time is not None]
    size = sum(int(info.get("size") or 0) for info in infos)
    return Stored(uri, PurePosixPath(uri).name, size, max(known) if len(known) == len(times) else None)


def _written(info: Mapping[str, Any]) -> datetime | None:
    value = next((info[name] for name in _WRITTEN if info.get(name) is not None), None)
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
