"""The address of a ClickHouse, with its user and a reference to the password."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from raypipe.clickhouse.file_access import others_may_read
from raypipe.clickhouse.statements import identifier
from raypipe.errors import ConfigError, UsageError
from raypipe.masking import masked

PASSWORD_VARIABLE = "RAYPIPE_PASSWORD"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Sharding:
    """The shards of a cluster, as `sharding.located` finds them.

    Attributes:
        cluster: its name in the configuration of the servers.
        database: the database as users name it.
        shards: a node of each shard, with the database of its share.
    """

    cluster: str
    database: str
    shards: tuple[Endpoint, ...]


@dataclass(frozen=True)
class Endpoint:
    """The address of a ClickHouse. It refers to the password and never holds it, so it may be pickled.

    Attributes:
        url: scheme, host and port, such as `https://clickhouse.example:8443`.
        password_file: a file with the password; None for the variable RAYPIPE_PASSWORD.
        ca_file: a PEM bundle to trust instead of the system's.
        cluster: the cluster of the server's configuration that tables live on; None for one server.
        timeout_seconds: the time without a byte from the server after which a statement has failed.
        sharding: the shards, where this is the first node of a cluster that has several.
        quorum: the replicas that have to hold an insert before it counts: a number, or `auto` for most of them.
        wait_seconds: the time that a replica gets to follow before a statement has failed.
    """

    url: str
    user: str = "default"
    database: str = "default"
    password_file: str | None = None
    ca_file: str | None = None
    cluster: str | None = None
    timeout_seconds: int = 600
    sharding: Sharding | None = None
    quorum: int | str = "auto"
    wait_seconds: int = 60

    @classmethod
    def parse(cls, url: str, password_file: str | None = None, ca_file: str | None = None) -> Endpoint:
        """Parse `http(s)://user@host:port/database`; a password in the URL is refused."""
        try:
            parts = urlsplit(url)
            port = parts.port or (8443 if parts.scheme == "https" else 8123)
        except ValueError as error:
            # A password with a `/` or `#` in it looks like a wrong port; the cause would print it.
            raise _unusable(url) from (None if "@" in url else error)
        database = unquote(parts.path.strip("/")) or "default"
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise _unusable(url)
        if parts.password:
            raise UsageError(
                "The URL of ClickHouse contains a password",
                found=masked(url),
                allowed="a URL without a password, which would show in process lists and logs",
                next_step=f"put the password into {PASSWORD_VARIABLE}, or into a file named by password_file",
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        # A password such as `12/x` would otherwise pass for a port and a database's name, and be shown.
        if "." in database or "@" in database:
            raise _unusable(url)
        identifier(database)
        return cls(
            f"{parts.scheme}://{host}:{port}", unquote(parts.username or "default"), database, password_file, ca_file
        )

    def __str__(self) -> str:
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{self.user}@{rest}/{self.database}"

    @property
    def is_loopback(self) -> bool:
        """Return whether the address is this machine's own."""
        return (urlsplit(self.url).hostname or "") in LOOPBACK

    def password(self) -> str:
        """Read the password; empty when none is configured."""
        if not self.password_file:
            return os.environ.get(PASSWORD_VARIABLE, "")
        path = Path(self.password_file)
        try:
            readable_by_others = others_may_read(path)
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The password file {path} cannot be read",
                found=error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8 text",
                next_step="correct connection.password_file or RAYPIPE_PASSWORD_FILE, or the file",
            ) from error
        if readable_by_others:
            raise ConfigError(f"The password file {path} is readable by others", next_step=f"run `chmod 600 {path}`")
        return text


def _unusable(url: str) -> UsageError:
    return UsageError(
        "The URL of ClickHouse cannot be used",
        found=masked(url),
        allowed="http(s)://user@host:port/database, or chdb:PATH for the embedded engine",
    )
