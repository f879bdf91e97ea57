"""A bridge in front of an older ClickHouse version, as a process that may be killed and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from raypipe.clickhouse.endpoint import Endpoint

BRIDGE = Path(__file__).with_name("bridge.py")
START_SECONDS = 60


class Bridged:
    """An older version on a folder; it keeps its address when it is started again."""

    def __init__(self, python: Path | str, folder: Path) -> None:
        """Prepare the bridge.

        Args:
            python: the interpreter of the version's environment.
            folder: the place of its data.
        """
        self._python = python
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address for RAYPIPE_TEST_URL."""
        return f"http://default@127.0.0.1:{self._port}/default"

    def start(self) -> Endpoint:
        """Start the bridge, and return when it answers a query."""
        log = self._folder / "bridge.log"
        with log.open("ab") as output:
            command = [self._python, BRIDGE, self._folder, str(self._port)]
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(self.url.replace("default@", ""), b"SELECT 1", timeout=START_SECONDS).close()
            except OSError:
                time.sleep(0.1)
            else:
                return Endpoint.parse(self.url)
        raise SystemExit(f"the bridge did not start:\n{log.read_text(errors='replace')}")

    @property
    def died(self) -> str:
        """Return the end of its log where it ended by itself, else ''."""
        if self._process is None or self._process.poll() is None:
            return ""
        log = (self._folder / "bridge.log").read_text(errors="replace")[-3000:]
        return f"exit code {self._process.returncode}\n{log}"

    def kill(self) -> None:
        """End the bridge at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    stop = kill
