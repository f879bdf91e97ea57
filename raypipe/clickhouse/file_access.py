"""Tell who may read a file, by its mode and its access control list."""

import os
import stat
import struct
from pathlib import Path

_ACL = "system.posix_acl_access"
_VERSION = struct.pack("<I", 2)
_ENTRY = "<HHI"
_USER, _OWNING_GROUP, _GROUP = 0x02, 0x04, 0x08
_READ = 0x04
_ROOT = 0


def others_may_read(path: Path) -> bool:
    """Return whether anybody but the file's owner, this user and root may read it.

    The group bits of a file with an access control list are the list's mask, see acl(5). systemd gives a credential
    to its service by such a list, so the mode says 0440 although no group may read the file.

    Raises:
        OSError: the file does not exist.
    """
    mode = path.stat().st_mode
    if mode & stat.S_IROTH:
        return True
    return bool(mode & stat.S_IRGRP) and _list_grants_others(path)


def _list_grants_others(path: Path) -> bool:
    """Return whether the list lets others read; without a list, the group bits do."""
    try:
        entries = os.getxattr(path, _ACL)
    except (OSError, AttributeError):
        return True
    if not entries.startswith(_VERSION):
        return True
    readers = [(tag, who) for tag, granted, who in struct.iter_unpack(_ENTRY, entries[4:]) if granted & _READ]
    return any(
        tag in (_OWNING_GROUP, _GROUP) or (tag == _USER and who not in (_ROOT, os.geteuid())) for tag, who in readers
    )
