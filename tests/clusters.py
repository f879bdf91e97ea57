"""Start a Ray cluster with `ray start` on free ports, with a token, on one or more nodes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.faults.actors import awaited, descendants, kill, processes

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"
# A dead node is detected after three seconds instead of half a minute. A busy node still has time to answer.
ALERT = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}


@dataclass(frozen=True)
class Node:
    """A running node: `ray start --block` and its processes.

    Attributes:
        process: The process of `ray start`.
        folder: The folder of the cluster's session and its logs. Every node's command lines name it.
    """

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def raylet(self) -> int:
        """Return the process of the raylet."""
        raylets = [pid for pid, title in descendants(self.process.pid).items() if "/raylet/raylet " in title]
        assert len(raylets) == 1, (raylets, (self.folder / "said").read_text())
        return raylets[0]

    def workers(self, title: str) -> list[int]:
        """Return the workers with this prefix in their titles."""
        below = self.raylet
        return [pid for pid, parent, named in processes() if parent == below and named.startswith(title)]

    def die(self) -> None:
        """Kill the raylet, and wait for the end of its workers, which consider it alive until then."""
        raylet = self.raylet
        members = {raylet, *descendants(raylet)}
        os.kill(raylet, signal.SIGKILL)
        awaited(lambda: not {pid for pid, *_ in processes()} & members, "the end of a node", 30)


@dataclass(frozen=True)
class Head(Node):
    """The first node of a cluster, with the job server.

    Attributes:
        address: The address of the job server.
        gcs: The address that other nodes join.
        token: The cluster's token.
        environment: The environment of its processes.
    """

    address: str
    gcs: str
    token: str
    environment: Mapping[str, str]

    def asked(self, path: str) -> Any:
        """Return the job server's answer as JSON."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = urllib3.request("GET", f"{self.address}{path}", headers=headers, timeout=10, retries=False)
        assert answer.status == 200, answer.data
        return json.loads(answer.data)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the submitted jobs."""
        return [job for job in self.asked("/api/jobs/") if job["type"] == "SUBMISSION"]

    def logged(self) -> str:
        """Return the text of all of the cluster's logs."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and "logs" in path.parts]
        assert files
        return "\n".join(path.read_text(errors="replace") for path in files)

    @contextmanager
    def joined(self, cpus: int = 1) -> Iterator[Node]:
        """Join another node on the same machine."""
        arguments = [f"--address={self.gcs}", f"--num-cpus={cpus}"]
        before = _alive(self)
        with _started(arguments, self.environment, self.folder) as process:
            node = Node(process, self.folder)
            awaited(lambda: _alive(self) - before, "another node")
            yield node


def _alive(head: Head) -> set[str]:
    """Return the ids of the nodes that the head considers alive; a dead node is noticed after seconds."""
    nodes = [node["raylet"] for node in head.asked("/nodes?view=summary")["data"]["summary"]]
    return {node["nodeId"] for node in nodes if node.get("state") == "ALIVE"}


@contextmanager
def head(*, cpus: int = 1, **variables: str) -> Iterator[Head]:
    """Start a cluster of one node with a token and with `variables` in its environment."""
    token = secrets.token_hex(16)
    port, dashboard, client = _free_ports(3)
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        **{f"RAY_{name}": str(value) for name, value in ALERT.items()},
        **variables,
    }
    # Unix sockets allow only short paths.
    folder = Path(tempfile.mkdtemp(prefix="rp"))
    arguments = [
        "--head",
        f"--port={port}",
        f"--num-cpus={cpus}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-host={LOOPBACK}",
        f"--ray-client-server-port={client}",
        f"--temp-dir={folder}",
    ]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        process = stack.enter_context(_started(arguments, environment, folder))
        found = Head(process, folder, f"http://{LOOPBACK}:{dashboard}", f"{LOOPBACK}:{port}", token, environment)
        awaited(lambda: process.poll() is not None or _listens(dashboard), "a job server")
        assert process.poll() is None, (folder / "said").read_text()
        awaited(lambda: _alive(found), "the head among its nodes")
        yield found


@contextmanager
def _started(arguments: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    common = [
        f"--node-ip-address={LOOPBACK}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
        "--object-store-memory=100000000",
        "--include-log-monitor=false",
        "--disable-usage-stats",
        "--block",
    ]
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen(
            [str(BIN / "ray"), "start", *arguments, *common],
            env=dict(environment),
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        # A node with held actors ends slowly. The head ends last.
        kill([process.pid])
        process.wait(15)
        if "--head" in arguments:
            kill([pid for pid, _, title in processes() if str(folder) in title])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
