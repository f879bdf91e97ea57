"""Mask credentials in text that an error shows."""

import re

_SCHEME = re.compile(r".*?://|\W?//", re.DOTALL)
_QUERY = re.compile(r"(//[^?\s]*)\?.*", re.DOTALL)
_ASSIGNED = re.compile(r"(?i)((?:password|passwd|pwd|secret|token|key)=)[^&\s]+")


def masked(text: str) -> str:
    """Return the text with the credentials and the query of a URL replaced by `***`.

    Everything before the last `@` counts as credentials: an unquoted password may contain `/`, `#`, `?`, `@` or spaces.
    A URL may lack its scheme.
    """
    before, at, host = text.rpartition("@")
    scheme = _SCHEME.match(before)
    if at and (scheme or ":" in before):
        # After a `?` the last `@` may be a part of the query, and the host a part of a secret.
        text = f"{scheme[0] if scheme else ''}***" + ("" if "?" in before else f"@{host}")
    return _ASSIGNED.sub(r"\1***", _QUERY.sub(r"\1?***", text))
