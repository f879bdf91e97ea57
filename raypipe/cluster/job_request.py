"""Describe a job for a cluster: a command, its files and packages, and never a secret."""

import os
import re
import secrets
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raypipe import __version__
from raypipe.clickhouse.endpoint import PASSWORD_VARIABLE
from raypipe.cluster import token
from raypipe.config.document import read
from raypipe.config.problems import refusal
from raypipe.errors import UsageError
from raypipe.masking import masked

PASSWORD_FILE_VARIABLE = "RAYPIPE_PASSWORD_FILE"
# A shorter secret could be part of any word.
SHORTEST_SECRET = 4
# Data and likely secrets; Ray itself leaves out .git, .venv and the files that .gitignore and .rayignore name.
EXCLUDED = (
    *(".raypipe/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/"),
    *(".env", ".env.*", "*.pem", "*.key", "*.p12", ".netrc", ".aws/", ".ssh/", ".ray/"),
)
# `ray job stop` interrupts the command as Ctrl-C does: it releases its lock and can be resumed.
GENTLE_STOP = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60"}
_SECRET_NAME = re.compile(
    r"PASSWORD(?!_FILE)|PASSWD|PASSPHRASE|TOKEN(?!_PATH)|SECRET|CREDENTIAL|API_?KEY|(^|_)KEY(_|$)", re.IGNORECASE
)
_URL_WITH_PASSWORD = re.compile(r"://[^/@\s:]*:[^@\s]+@")


@dataclass(frozen=True)
class Request:
    """A job for a cluster. Everybody who may see the job sees all of this.

    Attributes:
        words: the raypipe command, without `raypipe`.
        working_dir: a folder that is copied to the cluster and in which the command runs, or None.
        requirements: a locked requirements file with the job's packages; None for the packages of the nodes.
    """

    submission_id: str
    words: tuple[str, ...]
    working_dir: Path | None = None
    requirements: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def entrypoint(self) -> str:
        """Return the shell command for the cluster."""
        return shlex.join(("python", "-m", "raypipe", *self.words))

    @property
    def metadata(self) -> dict[str, str]:
        """Return the facts that Ray stores with the job."""
        return {"raypipe": __version__}

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the lines of the requirements file without comments; none without a file."""
        if self.requirements is None:
            return ()
        lines = [line.rstrip() for line in self.requirements.read_text(encoding="utf-8").splitlines()]
        return tuple(line for line in lines if line and not line.lstrip().startswith("#"))

    def runtime_env(self, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Return Ray's `runtime_env`: the files, packages and variables of the job.

        Raises:
            ConfigError: a configuration that would be sent cannot be parsed, and may name a password file.
        """
        wanted: dict[str, Any] = {"env_vars": {**GENTLE_STOP, **self.variables}}
        if self.working_dir is not None:
            wanted["working_dir"] = str(self.working_dir)
            wanted["excludes"] = [*EXCLUDED, *_secret_files_inside(self.working_dir, self.words, environ)]
        if self.requirements is not None:
            # Hashes make pip refuse other files; a lock names every dependency, so pip has none to resolve.
            options = ["--disable-pip-version-check", "--no-cache-dir", "--no-deps"]
            wanted["pip"] = {"packages": list(self.packages), "pip_check": False, "pip_install_options": options}
        return wanted


def new_id(words: Sequence[str]) -> str:
    """Return a unique name for a job, such as `raypipe_run_20260201T031500_4f0c1a2b`."""
    return f"raypipe_{words[0]}_{datetime.now(UTC):%Y%m%dT%H%M%S}_{secrets.token_hex(4)}"


def variables(given: Iterable[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a job's variables from `NAME=VALUE`, or from `NAME` with its value in this environment.

    Raises:
        UsageError: a variable is not set here, or its name suggests a secret.
    """
    chosen = {}
    for item in given:
        name, equals, value = item.partition("=")
        if _SECRET_NAME.search(name):
            raise UsageError(
                f"{name} looks like a secret, and everybody who may see a job sees its variables",
                allowed="a reference, such as RAYPIPE_PASSWORD_FILE, or a variable that is not secret",
                next_step=f"set {name} in the environment of the cluster's nodes, or put it into a file there",
            )
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or (not equals and name not in environ):
            raise UsageError(
                "--env names a variable that cannot be sent",
                found=name,
                allowed="NAME of a variable that is set here, or NAME=VALUE",
            )
        chosen[name] = value if equals else environ[name]
    return chosen


def refuse_secrets(request: Request, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a request with a password or a token before any part of it leaves this machine.

    Raises:
        UsageError: a URL contains a password, or the request contains a secret that is known here.
    """
    parts = {
        "the command": request.words,
        "--env": tuple(request.variables.values()),
        f"{request.requirements}": request.packages,
    }
    known = list(_secrets(environ))
    for where, texts in parts.items():
        for text in texts:
            if _URL_WITH_PASSWORD.search(text):
                raise UsageError(
                    f"A URL in {where} contains a password, and everybody who may see a job sees it",
                    found=masked(text),
                    allowed="a URL without a password",
                    next_step=_BY_REFERENCE,
                )
            for name, value in known:
                if value in text:
                    raise UsageError(
                        f"The value of {name} is in {where}, and everybody who may see a job sees it",
                        allowed="a request without secrets",
                        next_step=_BY_REFERENCE,
                    )


_BY_REFERENCE = (
    f"set {PASSWORD_VARIABLE} or {PASSWORD_FILE_VARIABLE} in the environment of the cluster's nodes"
    " (docs/deploy.md); a job finds it there"
)


def _secrets(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the secrets known here."""
    secrets_here = [(PASSWORD_VARIABLE, environ.get(PASSWORD_VARIABLE, ""))]
    with suppress(OSError, UnicodeDecodeError):
        if path := environ.get(PASSWORD_FILE_VARIABLE):
            secrets_here.append((f"the file {path}", Path(path).read_text(encoding="utf-8").strip()))
    if ray := token.find(environ):
        secrets_here.append((ray.source, ray.value))
    yield from ((name, value) for name, value in secrets_here if len(value) >= SHORTEST_SECRET)


def _secret_files_inside(folder: Path, words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """List the files of ClickHouse's password and Ray's token inside the copied folder, as patterns of .gitignore."""
    named = [environ.get(PASSWORD_FILE_VARIABLE), environ.get(token.PATH_VARIABLE)]
    files = [Path(name) for name in named if name]
    files += [folder / name for configs in _config_folders(words) for name in _password_files(folder / configs)]
    whole = folder.resolve()
    # A link is packed as its target, so both are left out.
    paths = {path for file in files for path in (file.parent.resolve() / file.name, file.resolve())}
    inside = [path.relative_to(whole).as_posix() for path in sorted(paths) if path.is_relative_to(whole)]
    return ["/" + re.sub(r"([\\*?\[])", r"\\\1", name) for name in inside]


def _config_folders(words: Sequence[str]) -> Iterator[str]:
    """Yield the folders of configurations, as the job's command looks for them."""
    yield "configs"
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == "--config":
            yield value if equals else following


def _password_files(configs: Path) -> list[str]:
    """Return every `connection.password_file` of a folder's files, those of pipelines and of extended files too.

    Raises:
        ConfigError: a file cannot be parsed.
    """
    documents = [read(path, str(path)) for path in sorted(configs.rglob("[!.]*.yaml"))]
    if problems := [problem for document in documents for problem in document.problems]:
        raise refusal("The configuration of the job", problems)
    nodes = [document.root.nearest(("connection", "password_file")) for document in documents]
    return [str(node.value) for node, walked in nodes if len(walked) == 2 and node.value]
