"""Keep verified copies of artifacts on this machine, so that the workers of a node download each of them once.

The folder is `raypipe/artifacts` in XDG_CACHE_HOME or ~/.cache, else in the temporary folder. A copy is named by its
hash and verified at each use, so a changed copy is only a reason to download the artifact again.
"""

import fcntl
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raypipe.artifact import folders
from raypipe.artifact.files import MANIFEST
from raypipe.errors import ModelError, OutdatedArtifact

log = logging.getLogger(__name__)

# Copies beyond it are removed, the longest unused first.
LARGEST_BYTES = 4 << 30

Files = dict[str, bytes]


def opened(sha256: str, download: Callable[[Path], None], verify: Callable[[str], Files]) -> Files:
    """Return an artifact's files from the copy of this machine, which is made where it is missing or damaged.

    Args:
        download: writes the files into an empty folder.
        verify: returns the files of a folder, every byte verified.
    """
    copy = root() / sha256[:2] / sha256
    content = _verified(copy, verify)
    if content is None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with _alone(copy.parent):
            # Another process may have made the copy meanwhile.
            content = _verified(copy, verify) or _made(copy, download, verify)
        prune(copy)
    return content


def root() -> Path:
    """Return the folder of the copies, private to the user, in the first place where it can be made."""
    places = [Path(os.environ["XDG_CACHE_HOME"])] if os.environ.get("XDG_CACHE_HOME") else []
    with suppress(RuntimeError):
        places.append(Path.home() / ".cache")
    for place in places:
        folder = place / "raypipe" / "artifacts"
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    folder = Path(tempfile.gettempdir()) / f"raypipe-{os.getuid()}" / "artifacts"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def prune(kept: Path) -> None:
    """Remove the copies beyond LARGEST_BYTES, the longest unused first, but not this one."""
    copies = [stored for stored in folders.artifact_folders(str(root())) if stored.written_at is not None]
    total = 0
    for stored in sorted(copies, key=lambda stored: (stored.uri == str(kept), stored.written_at), reverse=True):
        total += stored.bytes
        if total > LARGEST_BYTES and stored.uri != str(kept):
            _remove(Path(stored.uri))


def _verified(copy: Path, verify: Callable[[str], Files]) -> Files | None:
    """Return the files of a copy; None where there is none, or where it was changed."""
    if not copy.is_dir():
        return None
    try:
        content = verify(str(copy))
    except OutdatedArtifact:
        raise
    except ModelError as error:
        # Another process may have removed the copy just now; that is no damage.
        if copy.is_dir():
            log.warning("the copy in %s is damaged, and made anew: %s (%s)", copy, error.problem, error.found)
            _remove(copy)
        return None
    with suppress(OSError):
        os.utime(copy / MANIFEST)
    return content


def _made(copy: Path, download: Callable[[Path], None], verify: Callable[[str], Files]) -> Files:
    unfinished = copy.parent / f".{uuid.uuid4().hex}"
    unfinished.mkdir(mode=0o700)
    try:
        download(unfinished)
        content = verify(str(unfinished))
        with suppress(OSError):
            unfinished.rename(copy)
        return content
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove(copy: Path) -> None:
    with suppress(OSError):
        folders.remove(str(copy))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process or thread at a time make copies in a folder, where its file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Without locks each process makes a copy of its own, and the last one stays.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
