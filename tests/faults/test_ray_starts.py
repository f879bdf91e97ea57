"""Test a Ray that a command starts for itself, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, subprocess
from raypipe.cluster import runtime
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.shared import RayConfig
import ray

with runtime.session(Endpoint.parse("http://default@127.0.0.1:1/default"), RayConfig(cpus=1)) as session:
    {connect}
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "ppid=,args="], capture_output=True, text=True, check=True).stdout
    print([line.split(maxsplit=1)[1] for line in listed.splitlines() if int(line.split()[0]) == os.getpid()])
    ray.shutdown()
"""


def children(connect: str) -> str:
    """The processes that a program starts when it connects."""
    program = PROGRAM.format(connect=connect)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert "/raylet/raylet" in done.stdout
    return done.stdout


@pytest.mark.fast
def test_a_ray_that_is_started_here_has_no_dashboard() -> None:
    assert "/dashboard/dashboard.py" not in children("session.ready()")


def test_without_leaving_it_out_ray_starts_a_dashboard_that_nobody_asked_for() -> None:
    assert "/dashboard/dashboard.py" in children('ray.init(address="local", num_cpus=1, include_dashboard=False)')


def test_a_ray_that_cannot_leave_it_out_starts_all_the_same() -> None:
    missing = "from raypipe.cluster import quirks; quirks.services = object()"
    assert "/dashboard/dashboard.py" in children(f"{missing}; session.ready()")


FAILING = """
import logging, os, sys
from raypipe.cluster import connection, runtime
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.shared import RayConfig
from raypipe.errors import ClusterError

class Repair(logging.Handler):
    def emit(self, record):
        print("warned:", record.getMessage())
        if {repaired}:
            del os.environ["RAY_TMPDIR"]

logging.getLogger("raypipe").addHandler(Repair())
# Ray's sockets have paths of 107 bytes at most.
os.environ["RAY_TMPDIR"] = sys.argv[1]
with runtime.session(Endpoint.parse("http://default@127.0.0.1:1/default"), RayConfig(cpus=1)) as session:
    try:
        session.ready()
        print("nodes", connection.node_cpus(1))
    except ClusterError as error:
        print("error:", error)
"""


def failing(folder: Path, *, repaired: bool) -> str:
    """The output of a program whose first start of Ray fails."""
    unusable = folder / ("x" * 100)
    unusable.mkdir()
    program = [sys.executable, "-c", FAILING.format(repaired=repaired), str(unusable)]
    return subprocess.run(program, capture_output=True, text=True, check=True, cwd=Path.cwd()).stdout


def test_a_start_that_fails_is_tried_once_more(tmp_path: Path) -> None:
    output = failing(tmp_path, repaired=True)
    assert output.count("warned: Ray did not start: ") == 1
    assert "nodes [1]" in output


def test_a_ray_that_does_not_start_is_an_error_with_the_load_of_the_machine(tmp_path: Path) -> None:
    output = failing(tmp_path, repaired=False)
    assert output.count("warned: Ray did not start: ") == 1
    assert "error: Ray did not start on this machine in 2 attempts\n  found: " in output
    assert re.search(r"; load \d+\.\d on \d+ CPUs\n", output)
    assert "raypipe doctor" in output


CPUS = """
from raypipe.cluster import connection
import ray

ray.init(address="local", num_cpus={cpus}, include_dashboard=False)
print("cpus", connection.node_cpus(3))
ray.shutdown()
"""


@pytest.mark.parametrize(("cpus", "expected"), [(0, "[3]"), (2, "[2]")])
def test_a_head_without_cpus_has_workers_still_to_come(cpus: int, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CPUS.format(cpus=cpus)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert f"cpus {expected}" in done.stdout


NIGHT = """
from raypipe.cluster import runtime
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.shared import RayConfig
import ray

def connected(cpus):
    return runtime.session(Endpoint.parse("http://default@127.0.0.1:1/default"), RayConfig(cpus=cpus))

def node(cpus):
    with connected(cpus) as session:
        session.ready()
        return ray.get_runtime_context().get_node_id()

with runtime.kept():
    first, second, other = node(1), node(1), node(2)
print("the same", first == second)
print("with other cpus", first == other)
runtime._closing.join()
print("connected", ray.is_initialized())
with connected(2) as session:
    session.ready()
    outer = node(2)
    print("without keeping it", outer == other)
    with runtime.kept():
        print("in an outer session", node(1) == outer)
    # A connection closes on a thread of its own.
    runtime._closing.join()
    print("connected", ray.is_initialized())
"""


@pytest.mark.fast
def test_the_sessions_of_a_night_share_one_ray_as_long_as_they_want_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", NIGHT], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.splitlines() == [
        "the same True",
        "with other cpus False",
        "connected False",
        "without keeping it False",
        "in an outer session True",
        "connected True",
    ]
