"""A user's project on a cluster: a folder with configs and SQL, in which commands run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raypipe.project import shipped


@dataclass(frozen=True)
class Project:
    """A project's folder, and the address of its cluster.

    Attributes:
        environment: further variables of its commands.
    """

    folder: Path
    url: str
    environment: Mapping[str, str]

    def run(self, *arguments: str, url: str | None = None, code: int = 0) -> Any:
        """Run a command that ends with an exit code, and return its JSON document."""
        variables = {"RAYPIPE_URL": url or self.url, "RAY_USAGE_STATS_ENABLED": "0", **self.environment}
        command = [sys.executable, "-m", "raypipe", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        return json.loads(done.stdout)


def project(folder: Path, url: str, cluster: str, environment: Mapping[str, str] | None = None) -> Project:
    """Copy the shipped configs and SQL, and name the cluster."""
    for name in ("configs", "sql"):
        shutil.copytree(shipped() / name, folder / name)
    base = folder / "configs" / "base.yaml"
    base.write_text(base.read_text().replace("cluster: null", f"cluster: {cluster}"))
    return Project(folder, url, environment or {})
