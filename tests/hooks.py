"""A real HTTP server on a port of its own that takes messages, or refuses, hangs, drips and redirects."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Hook:
    """The server and the requests that it got.

    Attributes:
        behaviour: a status code, `hang`, `drip`, or the address of a redirect.
    """

    url: str = ""
    behaviour: int | str = 200
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        self.requests.append(Request(handler.command, handler.path, dict(handler.headers), body))
        if self.behaviour == "hang":
            self.ended.wait(30)
        elif self.behaviour == "drip":
            while not self.ended.wait(0.05):
                handler.wfile.write(b"H")
        elif isinstance(self.behaviour, str):
            handler.send_response(308)
            handler.send_header("Location", self.behaviour)
            handler.end_headers()
        else:
            handler.send_response(self.behaviour)
            handler.end_headers()
            handler.wfile.write(b"no such hook")


@contextmanager
def hook(certificate: Path | None = None) -> Iterator[Hook]:
    """Serve until the end; with a PEM of key and certificate, by TLS."""
    state = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.answer(self)

        do_PUT = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # A sender that gave up leaves a broken pipe.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
