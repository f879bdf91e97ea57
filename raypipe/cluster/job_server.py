"""Talk to a Ray cluster's job server: submit jobs, and read their state and logs."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import urllib3
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from raypipe.clickhouse.endpoint import LOOPBACK
from raypipe.cluster import token
from raypipe.cluster.job_request import Request
from raypipe.errors import ClusterError, UsageError
from raypipe.masking import masked

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10
# Silence reveals a connection that died; Ray's client would wait for ever.
SILENT_SECONDS = 60
VERSION = "/api/version"
# With RAY_AUTH_MODE=token, Ray's client sends this user's token to any server, unless it gets a header.
NO_TOKEN = {"Authorization": ""}
TOO_LARGE = "status code 413"
EXAMPLE = "http://ray-head:8265"
# Ray's client prefers these variables to its argument.
_PREFERRED_BY_RAY = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
# They log every upload, every folder that is left out and every connection that ends.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
    "ray._private.runtime_env.working_dir",
)
# Errors of Ray's client when the connection or the server fails; requests' errors are OSErrors.
_FAILURES = (RuntimeError, OSError, aiohttp.ClientError, asyncio.TimeoutError)

Write = Callable[[str], None]


class TokenRefused(ClusterError):
    """The cluster asks for a token, and does not accept this user's."""


@dataclass(frozen=True)
class JobState:
    """The state of a job.

    Attributes:
        status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        exit_code: of its command; None before it ends, and if it could not be started.
    """

    status: str
    exit_code: int | None
    message: str

    @property
    def is_over(self) -> bool:
        """Return whether the state is final."""
        return JobStatus(self.status).is_terminal()


class Server:
    """A job server that answers and accepts this user."""

    def __init__(self, address: str, client: JobSubmissionClient, headers: Mapping[str, str]) -> None:
        self.address = address
        self._client = client
        self._headers = headers

    def tool(self, verb: str, submission_id: str) -> str:
        """Return Ray's own command for a job, such as `ray job stop ID --address http://ray-head:8265`."""
        mode = "RAY_AUTH_MODE=token " if self._headers else ""
        return f"{mode}ray job {verb} {submission_id} --address {self.address}"

    def submit(self, request: Request) -> None:
        """Copy the working directory, if there is one, and submit the job.

        Raises:
            UsageError: the working directory is too large.
            ClusterError: the server refused or failed.
        """
        environment = request.runtime_env()
        with self._translated("did not accept the job"):
            try:
                self._client.submit_job(
                    entrypoint=request.entrypoint,
                    submission_id=request.submission_id,
                    runtime_env=environment,
                    metadata=request.metadata,
                )
            except (ValueError, RuntimeError) as error:
                # The server's limit is lower than the limit of Ray's client.
                if isinstance(error, RuntimeError) and TOO_LARGE not in str(error):
                    raise
                raise UsageError(
                    "The job's files or packages cannot be sent",
                    found=_line(error),
                    next_step="name the folder of configs and sql with --working-dir, or list files that the job"
                    " does not need in .rayignore; the server accepts 100 MB",
                ) from error

    def state(self, submission_id: str) -> JobState:
        """Return the state of a job.

        Raises:
            TokenRefused: the server does not accept the token.
            ClusterError: the server does not answer in time, or does not know the job.
        """
        # Ray's client has no time limit for this.
        status, text = _get(self.address, f"/api/jobs/{submission_id}", self._headers)
        if status in (401, 403):
            raise _denied(self.address, token.find())
        try:
            if status != 200:
                raise ValueError(f"status {status}: {text}")
            job = json.loads(text)
            return JobState(str(JobStatus(job["status"]).value), job.get("driver_exit_code"), job.get("message") or "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClusterError(
                f"The Ray cluster at {self.address} did not answer with the job's state",
                found=_line(error),
                next_step=f"`{self.tool('status', submission_id)}` asks for the state again",
            ) from error

    def follow(self, submission_id: str, write: Write) -> None:
        """Write the job's log from its beginning, as it grows.

        Returns when the job or the connection ends, and after SILENT_SECONDS without a message.
        """

        async def tail() -> None:
            lines = aiter(self._client.tail_job_logs(submission_id))
            with suppress(StopAsyncIteration, TimeoutError):
                while True:
                    write(await asyncio.wait_for(anext(lines), SILENT_SECONDS))

        with self._translated("interrupted the job's log"):
            asyncio.run(tail())

    @contextmanager
    def _translated(self, problem: str) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise _denied(self.address, token.find()) from error
        except _FAILURES as error:
            raise ClusterError(f"The Ray cluster at {self.address} {problem}", found=_line(error)) from error


def connect(address: str, environ: Mapping[str, str] = os.environ) -> Server:
    """Connect to the job server at a URL; Ray's token is sent only if the server asks for it.

    Raises:
        UsageError: the address is not the URL of a job server.
        ClusterError: nothing or something else answers there, or it does not accept the token.
    """
    address = _url(address)
    headers = _accepted(address, token.find(environ))
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    with _only_at(address):
        # All requests verify TLS against the authorities of OpenSSL's own variable.
        client = JobSubmissionClient(address, headers=headers or NO_TOKEN, verify=environ.get("SSL_CERT_FILE") or True)
    return Server(address, client, headers)


def _url(address: str) -> str:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            "This is not the address of a Ray job server",
            found=masked(address),
            allowed=f"http(s)://host:port, where Ray's dashboard answers, such as {EXAMPLE}",
            next_step="use the dashboard's port, 8265 by default, not the port of ray.init (6379 or 10001)",
        )
    return address.rstrip("/")


def _accepted(address: str, known: token.Token | None) -> dict[str, str]:
    """Return the headers with which the server accepts requests."""
    status, text = _get(address, VERSION, {})
    if status == 401 and known is not None:
        if urlsplit(address).scheme == "http" and urlsplit(address).hostname not in LOOPBACK:
            log.warning("Ray's token goes to %s unencrypted: use https, or a tunnel", address)
        headers = {"Authorization": f"Bearer {known.value}"}
        status, text = _get(address, VERSION, headers)
    else:
        headers = {}
    if status in (401, 403):
        raise _denied(address, known)
    if status != 200 or not _is_ray(text):
        raise ClusterError(
            f"The server at {address} is not a Ray job server",
            found=f"status {status}: {' '.join(text.split())[:200]}",
            allowed="a Ray dashboard, which contains the job server",
            next_step=f"give the dashboard's address, such as {EXAMPLE}; the head needs ray[default]",
        )
    return headers


def _get(address: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    try:
        with urllib3.PoolManager() as pool:
            answer = pool.request(
                "GET",
                f"{address}{path}",
                headers=dict(headers),
                timeout=ANSWER_SECONDS,
                retries=False,
                redirect=False,
            )
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ClusterError(
            f"Nothing answers at {address}",
            found=_line(error),
            allowed="the address of a Ray dashboard, which contains the job server",
            next_step="start the cluster (`ray start --head --dashboard-host=0.0.0.0`), or correct the address",
        ) from error
    return answer.status, answer.data.decode(errors="replace")


def _is_ray(text: str) -> bool:
    try:
        return "ray_version" in json.loads(text)
    except (ValueError, TypeError):
        return False


def _denied(address: str, known: token.Token | None) -> TokenRefused:
    reason = "asks for a token, and none is set" if known is None else "does not accept the token"
    return TokenRefused(
        f"The Ray cluster at {address} {reason}",
        found=None if known is None else f"the token from {known.source}",
        allowed=f"the token of that cluster, in {token.WHERE}",
        next_step="copy it from the head, where `ray get-auth-token` prints it",
    )


@contextmanager
def _only_at(address: str) -> Iterator[None]:
    """Keep this shell's variables from sending the job to another cluster."""
    kept: dict[str, Any] = {name: os.environ.pop(name) for name in _PREFERRED_BY_RAY if name in os.environ}
    try:
        yield
    except _FAILURES as error:
        raise ClusterError(f"The Ray cluster at {address} cannot be used", found=_line(error)) from error
    finally:
        os.environ.update(kept)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
