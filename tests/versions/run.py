"""Run the tests marked `versions` on older ClickHouse versions, each out of a chDB wheel in an environment of its own.

    python tests/versions/run.py [VERSION …]

An environment holds the pinned engine and sees the other packages of this one. It is made when it is missing.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".venv-versions"
BRIDGE = Path(__file__).with_name("bridge.py")
BRIDGED = ("starlette==1.10.0", "uvicorn==0.54.0", "lz4==4.4.5")
MARK = "pytest.mark.versions"
START_SECONDS = 60
# A choice takes under a minute; a version that hangs must not hold up the others.
LONGEST_SECONDS = 600
# A test waits for its server half of the time.
AT_ONCE = 2


@dataclass(frozen=True)
class Version:
    """A ClickHouse version, the wheel that has it, and whether it needs the bridge to answer HTTP."""

    name: str
    wheel: str
    bridged: bool = True

    @property
    def python(self) -> Path:
        """The interpreter of the version's environment."""
        return ENVIRONMENTS / self.name / "bin" / "python"

    def engine(self) -> str:
        """Ask the environment's engine for its version."""
        ask = "import chdb; print(chdb.connect(':memory:').query('SELECT version()', 'TSVRaw').data().strip())"
        told = subprocess.run([self.python, "-c", ask], stdout=subprocess.PIPE, text=True, check=True)
        return told.stdout.strip()


VERSIONS = (
    Version("25.8", "chdb==4.0.2"),
    Version("26.1", "chdb-core==26.1.0"),
    Version("26.5", "chdb-core==26.5.0"),
    Version("26.7", "chdb-core==26.7.3", bridged=False),
)


def prepare(version: Version) -> None:
    """Make the environment, unless it stands and holds these very packages."""
    packages = [version.wheel, *(BRIDGED if version.bridged else ())]
    stamp = ENVIRONMENTS / version.name / "packages.txt"
    if stamp.exists() and stamp.read_text() == "\n".join(packages):
        return
    folder = ENVIRONMENTS / version.name
    venv.create(folder, clear=True)
    install = [sys.executable, "-m", "pip", "--python", version.python, "install", "--quiet"]
    install.append("--disable-pip-version-check")
    # chdb would bring pandas and pyarrow of its own; those of this environment serve.
    subprocess.run([*install, "--no-deps", version.wheel], check=True)
    if version.bridged:
        subprocess.run([*install, *BRIDGED], check=True)
    inside = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (folder / inside / "outer.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    stamp.write_text("\n".join(packages))


@contextmanager
def served(version: Version) -> Iterator[str]:
    """Start a version's bridge on a temporary folder and yield its URL."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        log = Path(folder) / "bridge.log"
        with log.open("wb") as output:
            bridge = subprocess.Popen([version.python, BRIDGE, folder, port], stdout=output, stderr=output)
        try:
            await_answer(f"http://127.0.0.1:{port}/", bridge, log)
            yield f"http://default@127.0.0.1:{port}/default"
        finally:
            bridge.send_signal(signal.SIGKILL)
            bridge.wait()


def await_answer(url: str, bridge: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the bridge answers a query."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and bridge.poll() is None:
        try:
            urllib.request.urlopen(url, b"SELECT 1", timeout=START_SECONDS).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"the bridge did not start:\n{log.read_text(errors='replace')}")


def run(version: Version, python: Path, url: str | None) -> bool:
    """Run the choice, print the engine's version and pytest's summary, and return whether all passed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAYPIPE_")}
    environment |= {"PYTHONPATH": str(ROOT), **({"RAYPIPE_TEST_URL": url} if url else {})}
    # To import all tests would take longer than to run the choice.
    files = [file for file in sorted((ROOT / "tests/integration").rglob("test_*.py")) if MARK in file.read_text()]
    choice = [python, "-m", "pytest", "-q", "-m", "versions", "-p", "no:cacheprovider", *files]
    try:
        ended = subprocess.run(
            choice, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired as late:
        print(f"{late.output}\nClickHouse {version.name}: the tests did not end in {LONGEST_SECONDS} s", flush=True)
        return False
    if ended.returncode:
        print(ended.stdout)
    print(f"ClickHouse {version.engine()}: {ended.stdout.strip().splitlines()[-1]}", flush=True)
    return ended.returncode == 0


def check(version: Version) -> bool:
    """Run the choice on one version, and return whether all passed."""
    prepare(version)
    if not version.bridged:
        return run(version, version.python, None)
    with served(version) as url:
        return run(version, Path(sys.executable), url)


def main(names: list[str]) -> bool:
    """Run the choice on the named versions, or on all, two at a time; return whether all passed."""
    wanted = [version for version in VERSIONS if not names or version.name in names]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        passed = list(threads.map(check, wanted))
    return bool(passed) and all(passed)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
