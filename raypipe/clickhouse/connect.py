"""Connect to the ClickHouse of a URL, a server or the embedded engine."""

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
    """Yield the endpoint of a URL; start or join an embedded engine, and leave it at the end.

    Args:
        url: `http(s)://user@host:port/database`, or `chdb:PATH`.
        password_file: the file with a server's password; the embedded engine has its own.
        ca_file: a PEM bundle to trust instead of the system's.
        check: whether to check the server's version first.

    Raises:
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
            next_step="name a folder for the data; a new folder is created",
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
                allowed="a database that the user may see",
                next_step="run `raypipe migrate` to create the database and raypipe's tables, or correct the URL",
            ) from error
        raise
