"""What stands under an artifacts' folder, and how an artifact is removed; on any fsspec path.

Only what has the layout of an artifact is ever looked at: ROOT/ab/abcdef…/ and the unfinished ROOT/ab/.0123…/.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from raypipe.artifact.files import MANIFEST, file_system
from raypipe.errors import ModelError

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\Z")
# When a file was written is called differently by each file system; the memory one knows when it was created.
_WRITTEN = ("mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class Stored:
    """A folder of an artifact, or of what should have become one.

    Attributes:
        uri: an fsspec path.
        name: the hash, or a dot and random digits where the writing was not finished.
        bytes: of its files.
        written_at: of its newest file, UTC; None where the file system does not say.
    """

    uri: str
    name: str
    bytes: int
    written_at: datetime | None


def stored(root: str) -> list[Stored]:
    """The artifacts under a root, and what unfinished ones left; none where there is no such folder."""
    system, path = file_system(root)
    if not system.exists(path):
        return []
    folders: dict[str, list[Mapping[str, Any]]] = {}
    for file, info in system.find(path, detail=True).items():
        folder = posixpath.dirname(file)
        if _is_artifact(folder):
            folders.setdefault(folder, []).append(info)
    # A path without its protocol would be one of this machine.
    prefixed = "://" in root
    return [
        _stored(str(system.unstrip_protocol(folder)) if prefixed else folder, infos)
        for folder, infos in sorted(folders.items())
    ]


def size(uri: str) -> int:
    """The bytes of an artifact's folder; 0 where it is not there."""
    system, path = file_system(uri)
    return int(system.du(path)) if system.exists(path) else 0


def remove(uri: str) -> bool:
    """Removes an artifact's folder; whether there was one.

    Raises:
        ModelError: the path is not that of an artifact.
    """
    system, path = file_system(uri)
    path = path.rstrip("/")
    if not _is_artifact(path):
        raise ModelError(
            "Not the folder of an artifact; nothing was removed",
            found=uri,
            allowed="ROOT/ab/abcdef…, as raypipe makes it",
        )
    if not system.exists(path):
        return False
    if "file" in ((system.protocol,) if isinstance(system.protocol, str) else system.protocol):
        # A reader finds it whole or not at all, and the same content can be saved again at once.
        doomed = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}")
        os.rename(path, doomed)
        shutil.rmtree(doomed)
        return True
    manifest = posixpath.join(path, MANIFEST)
    if system.exists(manifest):
        # Without it there is no artifact: an object store cannot rename, so this is the moment.
        system.rm_file(manifest)
    system.rm(path, recursive=True)
    return True


def _is_artifact(folder: str) -> bool:
    path = PurePosixPath(folder)
    shelf = path.parent.name
    if _SHA256.match(path.name):
        return path.name[:2] == shelf
    return bool(_UNFINISHED.match(path.name) and re.match(r"[0-9a-f]{2}\Z", shelf))


def _stored(uri: str, infos: Iterable[Mapping[str, Any]]) -> Stored:
    known = list(infos)
    times = [_written(info) for info in known]
    newest = max((time for time in times if time is not None), default=None)
    return Stored(
        uri,
        PurePosixPath(uri).name,
        sum(int(info.get("size") or 0) for info in known),
        None if None in times else newest,
    )


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
