"""Connect to the ClickHouse of a URL, a server or the embedded engine."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from raypipe.clickhouse import cluster_checks, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.version import require_version
from raypipe.errors import ServerError, Unreachable, UsageError

log = logging.getLogger(__name__)

EMBEDDED = "chdb:"
UNKNOWN_DATABASE = 81
# Every server has it.
SYSTEM = "system"


@contextmanager
def connected(
    url: str,
    password_file: str | None = None,
    ca_file: str | None = None,
    *,
    check: bool = True,
    cluster: str | None = None,
) -> Iterator[Endpoint]:
    """Yield the endpoint of a URL; start or join an embedded engine, and leave it at the end.

    Args:
        url: `http(s)://user@host:port/database`, or `chdb:PATH`. Of several replicas, `host:port,host:port`, one that
            answers is used to the end.
        password_file: the file with a server's password; the embedded engine has its own.
        ca_file: a PEM bundle to trust instead of the system's.
        check: whether to check the server's version and its cluster first.
        cluster: the cluster of the server's configuration that holds the tables; None for one server.

    Raises:
        UsageError: the URL or the database cannot be used.
        RaypipeError: the cluster cannot be used; see `cluster_checks.require_usable`.
    """
    if not url.startswith(EMBEDDED):
        endpoint = _any_that_answers([Endpoint.parse(each, password_file, ca_file) for each in alternatives(url)])
        if check:
            _probe(endpoint)
        yield on_cluster(replace(endpoint, cluster=cluster), check=check)
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


def on_cluster(endpoint: Endpoint, *, check: bool = True) -> Endpoint:
    """Return the endpoint for the work on an endpoint's cluster: the endpoint itself, or the first shard's home.

    Args:
        check: whether to refuse a cluster on which a command could not finish.
    """
    if check and endpoint.cluster:
        with Client(endpoint) as client:
            cluster_checks.require_usable(client)
    return sharding.located(endpoint)


def alternatives(url: str) -> list[str]:
    """Return a URL for each host of a URL that names several."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    return [f"{scheme}{separator}{user}{at}{host}{slash}{path}" for host in hosts.split(",")]


def _any_that_answers(endpoints: list[Endpoint]) -> Endpoint:
    """Return one of several replicas, each as often as the others, so that commands spread over them."""
    *others, last = random.sample(endpoints, len(endpoints))
    for endpoint in others:
        try:
            Client(replace(endpoint, database=SYSTEM)).close()
            return endpoint
        except Unreachable as error:
            log.warning("%s: %s; another replica is used", error.problem, error.found)
    return last


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
