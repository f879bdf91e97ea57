"""Send one HTTP request, with a deadline and without following redirects."""

import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

import urllib3

from raypipe.errors import RaypipeError

# Of an answer, for the message about a refusal.
MOST_BYTES = 200
UNKNOWN_HOST = "an unknown host"


class NotDelivered(RaypipeError):
    """A message did not reach its receiver."""


def send(
    method: str,
    url: str,
    body: bytes,
    *,
    content_type: str,
    token: str | None = None,
    ca_file: str | None = None,
    timeout_seconds: float = 10.0,
) -> None:
    """Send a request and require an answer between 200 and 299.

    A redirect is refused: it could carry the message and the token to a host that the configuration does not name.
    Certificates are verified. Neither the address nor the token occurs in an error; only the host does.

    Raises:
        NotDelivered: no such answer within the time.
    """
    headers = {"Content-Type": content_type, "User-Agent": "raypipe"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    outcome: list[str] = []
    # The time-outs of a socket begin anew with each byte, so a server that drips would hold the night.
    sender = threading.Thread(
        target=lambda: outcome.append(_failure(method, url, body, headers, ca_file, timeout_seconds)), daemon=True
    )
    sender.start()
    sender.join(timeout_seconds + 1)
    reason = outcome[0] if outcome else f"no complete answer within {timeout_seconds:g} seconds"
    if reason:
        raise NotDelivered(f"{host_of(url)} did not take the message", found=reason)


def host_of(url: str) -> str:
    """Return the host and port of an address, without the rest, which may be a secret."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or UNKNOWN_HOST
    except ValueError:
        return UNKNOWN_HOST


def _failure(
    method: str, url: str, body: bytes, headers: Mapping[str, str], ca_file: str | None, timeout_seconds: float
) -> str:
    """Send the request, and return why it failed; empty if it did not."""
    try:
        with (
            urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=ca_file) as pool,
            pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout_seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            ) as response,
        ):
            return _refusal(response)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return _reason(error, timeout_seconds)


def _refusal(response: urllib3.BaseHTTPResponse) -> str:
    if 200 <= response.status < 300:
        return ""
    if 300 <= response.status < 400:
        place = response.headers.get("Location", "")
        return f"HTTP {response.status}, a redirect to {host_of(place)}; redirects are not followed"
    text = response.read(MOST_BYTES, decode_content=False).decode("utf-8", errors="replace")
    return " ".join(f"HTTP {response.status} {text}".split())


def _reason(error: Exception, timeout_seconds: float) -> str:
    """Return an error in words; the library's own text may contain the address."""
    # A refused connection is one of the time-outs of urllib3.
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "no connection: nothing answers at the address"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"no complete answer within {timeout_seconds:g} seconds"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"its certificate is not trusted ({error})"
    cause = error.args[-1] if error.args else error
    return f"{type(error).__name__}" if isinstance(cause, str) else f"{type(error).__name__}: {type(cause).__name__}"
