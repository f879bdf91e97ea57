"""Replace behaviour of Ray that has no setting; a later Ray without these internals is left unchanged."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

services: Any
worker: Any
try:
    from ray._private import services, worker
except ImportError:
    services = worker = None

log = logging.getLogger(__name__)

# Announces that a Ray started here asks for a token, which it makes and uses by itself.
_TOKEN_NOTICE = "ray._private.authentication.authentication_token_setup"


@contextmanager
def quiet_start() -> Iterator[None]:
    """Start Ray without a dashboard process and without messages on the terminal."""
    logging.getLogger(_TOKEN_NOTICE).setLevel(logging.ERROR)
    with _stderr_closed(), _without_dashboard():
        yield


@contextmanager
def _without_dashboard() -> Iterator[None]:
    """Keep Ray from starting a dashboard that nobody asked for, and from waiting a second for it.

    See docs/decisions/0009-what-scoring-does-without.md.
    """
    starting = getattr(services, "start_api_server", None)
    if starting is None:
        yield
        return
    # The answer of a dashboard that is switched off, without its process.
    services.start_api_server = lambda *_, **__: ("", None)
    try:
        yield
    finally:
        services.start_api_server = starting


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keep the messages of Ray's C++ side off the terminal while it starts; its errors are raised."""
    if log.isEnabledFor(logging.DEBUG):
        yield
        return
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep the process's handler of SIGTERM, which Ray would replace while it starts or connects."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Without a handler of the process's own, Ray's is better than sudden death.
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def keep_off_stdout() -> None:
    """Send the reports of Ray's nodes, such as a restarted actor, to stderr.

    Ray prints them on stdout, in the middle of a command's JSON, whatever `log_to_driver` says.
    """
    printing = getattr(worker, "print_to_stdstream", None)
    if printing is None or getattr(printing, "func", None) is _on_stderr:
        return
    worker.print_to_stdstream = partial(_on_stderr, printing)


def _on_stderr(printing: Callable[..., None], data: Mapping[str, Any], *arguments: Any, **named: Any) -> None:
    printing({**data, "is_err": True}, *arguments, **named)
