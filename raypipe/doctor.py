"""Examine what a run needs: the server, its database, the user's grants, and this machine."""

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from raypipe.clickhouse import cluster_checks, nodes, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import require_engine
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import grants
from raypipe.clickhouse.schema.leftovers import PATIENCE, clean, leftovers
from raypipe.clickhouse.schema.migrate import SYSTEM, database_exists, plan
from raypipe.clickhouse.schema.needed import Needed
from raypipe.clickhouse.schema.version import require_version
from raypipe.clickhouse.tables import describe
from raypipe.errors import Denied, RaypipeError, ServerError

__all__ = ["Check", "Status", "clean", "examine"]

Status = Literal["ok", "warning", "problem"]

WINDOW = "non_replicated_deduplication_window"
MANY_PARTITIONS = 5_000
GIB = 1 << 30
DISK_WARNING_BYTES = 10 * GIB
DISK_PROBLEM_BYTES = GIB
# Ray's object store lies in shared memory; if it is smaller, Ray falls back to the slower disk.
SHARED_MEMORY_BYTES = 2 * GIB
SKEW_WARNING_SECONDS = 1.0
SKEW_PROBLEM_SECONDS = 30.0
MIGRATE = "raypipe migrate"
# The first that raypipe supports, and the first that it does not.
RAY_VERSIONS = ((2, 60), (2, 64))
INSTALL_RAY = "pip install 'ray[default,data,train,tune]>=2.60,<2.64'"


@dataclass(frozen=True)
class Check:
    """The result of one examination.

    Attributes:
        status: `ok`; `warning`: runs work with a drawback; `problem`: runs fail.
    """

    name: str
    status: Status
    detail: str
    next_step: str = ""


Examination = Callable[[Client], Check]


def examine(
    endpoint: Endpoint, needed: Needed, *, embedded: bool = False, more: Mapping[str, Examination] | None = None
) -> list[Check]:
    """Return every check, in the order in which to repair; change nothing.

    Args:
        needed: the tables of the configured pipelines.
        embedded: whether it is the embedded engine, which needs packages of its own.
        more: further examinations of the database, by name.
    """
    return [*_server(endpoint, needed, {**DATABASE_CHECKS, **(more or {})}), *_machine(embedded)]


def _server(endpoint: Endpoint, needed: Needed, examinations: Mapping[str, Examination]) -> list[Check]:
    try:
        with Client(replace(endpoint, database=SYSTEM)) as client:
            checks = [Check("connection", "ok", f"{endpoint} answers"), _version(client), _clock(client)]
            checks.append(_guarded("disk of the server", _server_disk, client))
        if not database_exists(endpoint):
            detail = f"the database {endpoint.database} does not exist, or the user may not see it"
            return [*checks, Check("database", "problem", detail, MIGRATE)]
        with Client(endpoint) as client:
            if endpoint.cluster is not None:
                checks.append(_guarded("cluster", _cluster, client))
            checks.append(_guarded("tables", partial(_tables, needed), client))
            checks.append(_guarded("grants", partial(_grants, needed), client))
            return checks + [_guarded(name, check, client) for name, check in examinations.items()]
    except RaypipeError as error:
        return [_failed("connection", error)]


def _guarded(name: str, check: Examination, client: Client) -> Check:
    """Return the check, or the reason why it failed: a diagnosis must not end at a missing grant."""
    try:
        return check(client)
    except Denied as error:
        last_line = str(error.found or error.problem).strip().splitlines()[-1]
        return Check(name, "warning", f"unknown: {last_line}", "grant it, see sql/grants.sql")
    except RaypipeError as error:
        return _failed(name, error)


def _failed(name: str, error: RaypipeError) -> Check:
    detail = error.problem if error.found is None else f"{error.problem}: {error.found}"
    return Check(name, "problem", detail, error.next_step or "")


def _version(client: Client) -> Check:
    try:
        require_version(client)
    except ServerError as error:
        return _failed("version", error)
    return Check("version", "ok", f"ClickHouse {client.version}")


def _clock(client: Client) -> Check:
    before = time.time()
    server = client.value("SELECT toUnixTimestamp64Micro(now64(6))") / 1e6
    after = time.time()
    skew = max(before - server, server - after, 0.0)
    if skew < SKEW_WARNING_SECONDS:
        return Check("clocks", "ok", "the server's clock agrees with this machine's")
    status: Status = "warning" if skew < SKEW_PROBLEM_SECONDS else "problem"
    detail = f"the server's clock is {skew:.1f} s off from this machine's; aliases and models are ordered by time"
    return Check("clocks", status, detail, "synchronise both by NTP")


def _cluster(client: Client) -> Check:
    cluster_checks.require_usable(client)
    listed = nodes.listed(client)
    silent = [node.name for node in listed if not node.answers]
    if silent:
        detail = f"{', '.join(silent)} of {len(listed)} nodes does not answer"
        return Check("cluster", "warning", detail, "start the node: it catches up by itself")
    return Check("cluster", "ok", f"{len(listed)} nodes of {client.endpoint.cluster} agree")


def _server_disk(client: Client) -> Check:
    disks = client.rows("SELECT name, free_space, total_space FROM system.disks")
    # The free space that an object store reports means nothing.
    name, free, total = min(disks, key=lambda disk: disk[1])
    return _space("disk of the server", f"{name}: ", free, total)


def _space(check: str, label: str, free: int, total: int) -> Check:
    detail = f"{label}{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free >= DISK_WARNING_BYTES:
        return Check(check, "ok", detail)
    return Check(check, "warning" if free >= DISK_PROBLEM_BYTES else "problem", detail, "free some space")


def _grants(needed: Needed, client: Client) -> Check:
    required = list(grants.required(client.endpoint.database, needed.declarations, needed.targets, needed.foreign))
    if client.topology.cluster:
        required += grants.of_cluster(client.endpoint.database)
    lacking = grants.missing(client, required)
    if not lacking:
        return Check("grants", "ok", f"{client.endpoint.user} has all {len(required)} that a run needs")
    detail = f"{client.endpoint.user} lacks " + "; ".join(str(grant) for grant in lacking)
    return Check("grants", "problem", detail, "grant them, see sql/grants.sql")


def _tables(needed: Needed, client: Client) -> Check:
    report = plan(client, needed.declarations)
    if report.problems:
        detail = "; ".join(str(difference) for difference in report.problems)
        return Check("tables", "problem", detail, "alter the tables: raypipe never alters a table that exists")
    if report.created:
        return Check("tables", "problem", f"missing: {', '.join(report.created)}", MIGRATE)
    absent = [name for name in needed.foreign if describe(client, name) is None]
    if absent:
        detail = f"missing: {', '.join(absent)}, which a pipeline's source or target names"
        return Check("tables", "problem", detail, "create the table, or correct the pipeline's configuration")
    differing = {difference.table for difference in report.differences}
    noted = f"; {len(differing)} differ in ways that work: `{MIGRATE} --check` lists them" if differing else ""
    return Check("tables", "ok", f"{len(report.present)} tables and views exist{noted}")


def _partitions(client: Client) -> Check:
    sql = (
        "SELECT table, uniqExact(partition_id) AS partitions FROM system.parts"
        " WHERE database = {database:String} AND active"
        " GROUP BY table HAVING partitions > {many:UInt64} ORDER BY table"
    )
    crowded = [
        row
        for node in sharding.nodes(client)
        for row in node.rows(sql, {"database": node.endpoint.database, "many": MANY_PARTITIONS})
    ]
    if not crowded:
        return Check("partitions", "ok", f"no table has more than {MANY_PARTITIONS}")
    detail = ", ".join(f"{table} has {partitions}" for table, partitions in crowded)
    return Check("partitions", "warning", detail, "shorten the retention: so many partitions slow the server's start")


def _windows(client: Client) -> Check:
    known = client.value("SELECT count() FROM system.merge_tree_settings WHERE name = {name:String}", {"name": WINDOW})
    if not known:
        return Check("deduplication", "problem", f"the server does not know {WINDOW}", "use a server that has it")
    return Check("deduplication", "ok", f"staging tables can set {WINDOW}")


def _leftovers(client: Client) -> Check:
    tables = leftovers(client)
    over = [leftover.table for leftover in tables if leftover.is_over()]
    if over:
        return Check("leftovers", "warning", f"no longer needed: {', '.join(over)}", "raypipe doctor --clean")
    stale = [leftover.table for leftover in tables if leftover.age is not None and leftover.age > PATIENCE]
    if stale:
        detail = f"older than {PATIENCE // timedelta(hours=1)} h, of unfinished runs: {', '.join(stale)}"
        return Check("leftovers", "warning", detail, "`raypipe runs` lists them; raypipe resume RUN")
    return Check("leftovers", "ok", f"{len(tables)} tables of running runs" if tables else "none")


DATABASE_CHECKS: dict[str, Examination] = {
    "deduplication": _windows,
    "partitions": _partitions,
    "leftovers": _leftovers,
}


def _machine(embedded: bool) -> list[Check]:
    home = shutil.disk_usage(Path.cwd())
    return [
        _ray(),
        _resources(),
        _space("disk here", f"{Path.cwd()}: ", home.free, home.total),
        _shared_memory(Path("/dev/shm")),
        *([Check("embedded engine", "ok", f"chdb-core {require_engine()}")] if embedded else []),
    ]


def _ray() -> Check:
    installed = _installed("ray")
    if installed is None:
        return Check("Ray", "problem", "not installed", INSTALL_RAY)
    if not RAY_VERSIONS[0] <= tuple(map(int, re.findall(r"\d+", installed)[:2])) < RAY_VERSIONS[1]:
        return Check("Ray", "problem", f"Ray {installed} is not a version that raypipe supports", INSTALL_RAY)
    return Check("Ray", "ok", f"Ray {installed}")


def _resources() -> Check:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check("resources", "ok", f"{os.cpu_count()} CPUs, {memory / GIB:.1f} GiB of memory")


def _shared_memory(path: Path) -> Check:
    if not path.is_dir():
        return Check("shared memory", "ok", f"no {path} on this system; Ray uses its temporary folder")
    total = shutil.disk_usage(path).total
    detail = f"{path} holds {total / GIB:.1f} GiB"
    if total >= SHARED_MEMORY_BYTES:
        return Check("shared memory", "ok", detail)
    return Check("shared memory", "warning", f"{detail}: Ray's object store goes to disk", "docker run --shm-size=4g")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
