"""Refuse folders that would vanish with a Ray job: relative paths lie in the job's copy of the working directory."""

import json
from collections.abc import Mapping
from pathlib import Path

from raypipe.config.shared import CLICKHOUSE, SharedConfig
from raypipe.errors import UsageError

# Ray sets it for the command of a job.
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_EMBEDDED = "chdb:"


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


def _vanishes(path: str) -> bool:
    return bool(path) and not Path(path).expanduser().is_absolute()


def _has_working_dir(job: str) -> bool:
    try:
        return bool(json.loads(job)["runtime_env"].get("working_dir"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
