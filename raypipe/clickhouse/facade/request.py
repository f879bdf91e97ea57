"""What an HTTP request asks for, apart from its statement: who, where, with which settings and parameters."""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

USER = "default"

# Names in the URL that belong to the protocol; every other one is a setting.
_PROTOCOL = {
    "buffer_size", "client_protocol_version", "compress", "database", "decompress", "default_format",
    "enable_http_compression", "http_headers_progress_interval_ms", "password", "query", "query_id", "quota_key",
    "role", "send_progress_in_http_headers", "session_check", "session_id", "session_timeout", "stacktrace",
    "user", "wait_end_of_query",
}  # fmt: skip
_PARAMETER = "param_"
_EXTERNAL = ("_format", "_types", "_structure")


@dataclass(frozen=True)
class ExternalTable:
    """A table that comes with a query: its name, its columns in SQL, and its rows in a format."""

    name: str
    structure: str
    format: str
    rows: bytes


@dataclass(frozen=True)
class Asked:
    """The parameters of a request, sorted by what they are for."""

    query: bytes
    query_id: str
    database: str
    settings: dict[str, str]
    parameters: dict[str, str]
    session_id: str = ""
    session_seconds: float = 60.0
    must_exist: bool = False
    default_format: str = "TabSeparated"
    buffers_all: bool = False
    accepts: str = ""
    tables: tuple[ExternalTable, ...] = field(default=())

    def format_of(self, named: str | None) -> str:
        """The format of the answer, given the one that the statement names."""
        return named or self.default_format

    @classmethod
    def from_http(cls, url: Mapping[str, str], headers: Mapping[str, str], files: Mapping[str, bytes]) -> Asked:
        """Reads a request's URL parameters (and form values), its headers, and the external tables of a form."""
        of_tables = {name + suffix for name in files for suffix in _EXTERNAL}
        compresses = url.get("enable_http_compression") in ("1", "true")
        return cls(
            query=url.get("query", "").encode("utf-8", "surrogateescape"),
            query_id=url.get("query_id") or str(uuid.uuid4()),
            database=url.get("database") or headers.get("x-clickhouse-database", ""),
            settings={
                name: value
                for name, value in url.items()
                if name not in _PROTOCOL and name not in of_tables and not name.startswith(_PARAMETER)
            },
            parameters={
                name.removeprefix(_PARAMETER): value for name, value in url.items() if name.startswith(_PARAMETER)
            },
            session_id=url.get("session_id", ""),
            session_seconds=float(url.get("session_timeout") or 60),
            must_exist=url.get("session_check") == "1",
            default_format=url.get("default_format") or headers.get("x-clickhouse-format", "TabSeparated"),
            buffers_all=url.get("wait_end_of_query") in ("1", "true"),
            accepts=headers.get("accept-encoding", "") if compresses else "",
            tables=tuple(_external_table(name, rows, url) for name, rows in files.items()),
        )


def _external_table(name: str, rows: bytes, url: Mapping[str, str]) -> ExternalTable:
    types = [part.strip() for part in url.get(f"{name}_types", "").split(",")]
    unnamed = ", ".join(f"_{number} {kind}" for number, kind in enumerate(types, 1))
    return ExternalTable(
        name, url.get(f"{name}_structure") or unnamed, url.get(f"{name}_format") or "TabSeparated", rows
    )


def is_allowed(url: Mapping[str, str], headers: Mapping[str, str], password: str) -> tuple[bool, str]:
    """Whether a request names the user and the password, and the user it names."""
    user, given = url.get("user", USER), url.get("password", "")
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        user, given = headers.get("x-clickhouse-user", USER), headers.get("x-clickhouse-key", "")
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, given = base64.b64decode(credentials).decode("utf-8", "replace").partition(":")
        except binascii.Error:
            given = ""
    # Both are compared, and in constant time, whatever the other's result.
    right_user = hmac.compare_digest(user.encode(), USER.encode())
    right_password = hmac.compare_digest(given.encode(), password.encode())
    return right_user and right_password, user
