"""Run a choice of tests on older ClickHouse versions, each out of a chDB wheel in an environment of its own.

    python -m tests.versions.run [--mark versions|restarts] [VERSION …]

The mark `versions` is for tests of one server, `restarts` for tests/faults/test_restarts.py, which kills its own.

An environment holds the pinned engine and sees the other packages of this one. It is made when it is missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.versions.bridged import Bridged

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".venv-versions"
BRIDGED = ("starlette==1.10.0", "uvicorn==0.54.0", "lz4==4.4.5")
MARKS = {"versions": ROOT / "tests" / "integration", "restarts": ROOT / "tests" / "faults"}
# The interpreter whose bridge the tests marked `restarts` start.
ENGINE = "RAYPIPE_TEST_ENGINE"
# A choice takes under a minute; a version that hangs must not hold up the others.
LONGEST_SECONDS = 900
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


def run(version: Version, mark: str, python: Path, server: Mapping[str, str]) -> bool:
    """Run the choice, print the engine's version and pytest's summary, and return whether all passed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAYPIPE_")}
    environment |= {"PYTHONPATH": str(ROOT), **server}
    # To import all tests would take longer than to run the choice.
    files = [file for file in sorted(MARKS[mark].rglob("test_*.py")) if f"pytest.mark.{mark}" in file.read_text()]
    choice = [python, "-m", "pytest", "-q", "-m", mark, "-p", "no:cacheprovider", *files]
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


def check(version: Version, mark: str) -> bool:
    """Run the choice on one version, and return whether all passed."""
    prepare(version)
    if not version.bridged:
        return run(version, mark, version.python, {})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bridge = Bridged(version.python, Path(folder))
        bridge.start()
        try:
            server = {"RAYPIPE_TEST_URL": bridge.url, ENGINE: str(version.python)}
            return run(version, mark, Path(sys.executable), server)
        finally:
            bridge.kill()


def main(arguments: list[str]) -> bool:
    """Run the choice on the named versions, or on all, two at a time; return whether all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mark", choices=MARKS, default="versions")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=", ".join(version.name for version in VERSIONS))
    asked = parser.parse_args(arguments)
    unknown = set(asked.versions) - {version.name for version in VERSIONS}
    if unknown:
        parser.error(f"no such version: {', '.join(unknown)}")
    wanted = [version for version in VERSIONS if not asked.versions or version.name in asked.versions]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return all(threads.map(lambda version: check(version, asked.mark), wanted))


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
