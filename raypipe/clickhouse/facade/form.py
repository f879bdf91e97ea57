"""`multipart/form-data`, in which clients send long parameters and external tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_NAME = re.compile(rb'[; ]name="([^"]*)"')
_FILE = re.compile(rb"[; ]filename=")


@dataclass(frozen=True)
class Form:
    """The fields of a form: plain values, and the contents of files."""

    values: dict[str, str]
    files: dict[str, bytes]


def parse_form(content_type: str, body: bytes) -> Form | None:
    """The form in a body; None when the body is not one."""
    boundary = _BOUNDARY.search(content_type)
    if not content_type.startswith("multipart/form-data") or boundary is None:
        return None
    form = Form({}, {})
    # Every part stands between two delimiters, with a line break on either side.
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        header, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _NAME.search(header)
        if name is None:
            continue
        if _FILE.search(header):
            form.files[name[1].decode()] = content
        else:
            form.values[name[1].decode()] = content.decode()
    return form
