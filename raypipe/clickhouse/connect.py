"""From a URL to an endpoint that answers, whichever engine stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.version import require_version
from raypipe.errors import ServerError, UsageError

EMBEDDED = "chdb:"
UNKNOWN_DATABASE = 81


@contextmanager
def connected(
    url: str, password_file: str | None = None, ca_file: str | None = None, *, check: bool = True
) -> Iterator[Endpoint]:
    """The endpoint at a URL; an embedded engine is started or joined, and left at the end.

    Args:
        url: `http(s)://user@host:port/database`, or `chdb:PATH`.
        password_file: where the password of a server stands; the embedded engine has its own.
        ca_file: a PEM bundle to trust instead of the system's.
        check: whether to ask the server for its version first, and refuse one too old.

    Raises:
        Unreachable: nothing answers.
        Denied: the password is wrong.
        UsageError: the URL or the database cannot be used.
    """
    if not url.startswith(EMBEDDED):
        endpoint = Endpoint.parse(url, password_file, ca_file)
        if check:
            _probe(endpoint)
        yield endpoint
        return
    path = url.removeprefix(EMBEDDED)
    if not path:
        raise UsageError(
            "The embedded engine needs a folder",
            found=url,
            allowed="chdb:PATH, such as chdb:.raypipe/clickhouse",
            next_step="name the folder that holds the data, or is to hold it",
        )
    with open_embedded(Path(path)) as lease:
        yield lease.endpoint


def _probe(endpoint: Endpoint) -> None:
    try:
        with Client(endpoint) as client:
            require_version(client)
    except ServerError as error:
        if error.code == UNKNOWN_DATABASE:
            raise UsageError(
                f"The database {endpoint.database} does not exist",
                found=str(endpoint),
                allowed="the name of a database that the user may see",
                next_step="`raypipe migrate` creates it and raypipe's tables, or correct the URL's last part",
            ) from error
        raise
