"""Test requests to a real server that takes them, refuses, hangs, drips, redirects, or has a certificate of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raypipe.alerts.web import NotDelivered, send
from tests.hooks import Hook, hook

SECRET = "T0/B0/very-secret"


@pytest.fixture
def server() -> Iterator[Hook]:
    with hook() as running:
        yield running


def post(url: str, **options: object) -> None:
    send("POST", f"{url}/{SECRET}", b"{}", content_type="application/json", token="a-token", **options)  # type: ignore[arg-type]


def refused(url: str, **options: object) -> str:
    with pytest.raises(NotDelivered) as caught:
        post(url, **options)
    text = str(caught.value)
    assert SECRET not in text
    assert "a-token" not in text
    return text


def test_a_message_arrives_with_its_token(server: Hook) -> None:
    post(server.url)
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", f"/{SECRET}", b"{}")
    assert request.headers["Authorization"] == "Bearer a-token"


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_refusal_names_the_status_and_what_the_server_says(server: Hook, status: int) -> None:
    server.behaviour = status
    text = refused(server.url)
    assert f"HTTP {status} no such hook" in text
    assert server.url.removeprefix("http://") in text
    assert len(server.requests) == 1


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_server_without_an_end_is_left_after_the_deadline(server: Hook, behaviour: str) -> None:
    server.behaviour = behaviour
    started = time.perf_counter()
    assert "no complete answer within 0.2 seconds" in refused(server.url, timeout_seconds=0.2)
    assert time.perf_counter() - started < 5


def test_a_redirect_is_not_followed_and_takes_no_secret_along(server: Hook) -> None:
    with hook() as other:
        server.behaviour = f"{other.url}/elsewhere?with=more"
        text = refused(server.url)
        assert other.requests == []
    assert "a redirect to 127.0.0.1" in text
    assert "elsewhere" not in text


def test_nothing_at_the_address_is_an_error() -> None:
    with hook() as gone:
        url = gone.url
    assert "nothing answers" in refused(url)


@pytest.mark.parametrize("url", ["no address", "http://host:port", "ftp://host/"])
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    refused(url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that no authority has signed."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hook -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return both


def test_a_certificate_is_verified_and_may_be_named(certificate: Path) -> None:
    with hook(certificate) as server:
        assert "certificate is not trusted" in refused(server.url)
        assert server.requests == []
        post(server.url, ca_file=str(certificate.with_name("certificate")))
        assert len(server.requests) == 1


def test_a_file_of_certificates_that_does_not_exist_is_an_error(certificate: Path) -> None:
    with hook(certificate) as server:
        refused(server.url, ca_file="/nowhere/ca.pem")
