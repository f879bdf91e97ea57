"""Keep a Ray job off its copy of the working directory, which vanishes at its end, and may vanish earlier."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from raypipe.config.shared import CLICKHOUSE, SharedConfig
from raypipe.errors import ClusterError, UsageError

# Ray sets it for the command of a job.
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_EMBEDDED = "chdb:"


def require_working_dir(environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a job whose copy of the working directory is gone: raypipe's own pipelines would replace the user's.

    Raises:
        ClusterError: Ray has removed the copy, to unpack it again for another node.
    """
    if not _has_working_dir(environ.get(_JOB, "")):
        return
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ClusterError(
            "The working directory of this job was removed before the command had read its files",
            found="a node that joined, and that shares the folder of Ray's sessions with this node",
            next_step="submit the job again; nothing was changed",
        ) from error


def refuse_vanishing_folders(config: SharedConfig, environ: Mapping[str, str]) -> None:
    """Refuse a database or artifacts in a folder that Ray removes after the job.

    Raises:
        UsageError: this is a job with a working directory, and a path is relative to it.
    """
    if not _has_working_dir(environ.get(_JOB, "")):
        return
    if config.connection.url.startswith(_EMBEDDED) and _vanishes(config.connection.url.removeprefix(_EMBEDDED)):
        raise UsageError(
            "The embedded engine's data would vanish with the job's working directory",
            found=config.connection.url,
            allowed="an http(s):// URL that every node reaches; on a cluster of one machine also chdb:/ABSOLUTE/PATH",
            next_step="set RAYPIPE_URL in the environment of the cluster's nodes, or submit with --env RAYPIPE_URL",
        )
    if config.artifacts != CLICKHOUSE and "://" not in config.artifacts and _vanishes(config.artifacts):
        raise UsageError(
            "The models would vanish with the job's working directory",
            found=f"artifacts = {config.artifacts}",
            allowed="clickhouse, an object store such as s3://bucket/raypipe, or an absolute path on every node",
            next_step="set RAYPIPE_ARTIFACTS in the environment of the cluster's nodes, or submit with"
            " --env RAYPIPE_ARTIFACTS",
        )


def leave_working_dir(environ: Mapping[str, str] = os.environ) -> None:
    """Leave a job's copy of the working directory before Ray is connected; everything in it has been read.

    Ray unpacks it anew for each node, and nodes of one machine have one copy. A process in a removed directory fails
    wherever a library asks for the current directory.
    """
    if _has_working_dir(environ.get(_JOB, "")):
        os.chdir("/")


def _vanishes(path: str) -> bool:
    return bool(path) and not Path(path).expanduser().is_absolute()


def _has_working_dir(job: str) -> bool:
    try:
        return bool(json.loads(job)["runtime_env"].get("working_dir"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
