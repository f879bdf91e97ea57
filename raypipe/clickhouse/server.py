"""The process of the embedded engine: chDB behind ClickHouse's HTTP protocol on loopback.

Started by `raypipe.clickhouse.embedded`, which hands it the owner's lock. It ends with the last of its users, or on
SIGTERM or SIGINT. Run as `python -m raypipe.clickhouse.server FOLDER --owner FD --ready FD`; it imports no more than
it needs, because every command that finds no engine waits for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn

from raypipe import __version__
from raypipe.clickhouse.facade.engine import Engine
from raypipe.clickhouse.facade.folder import Folder, State
from raypipe.clickhouse.facade.protocol import Protocol

LOOPBACK = "127.0.0.1"
# An idle connection that the server closes just as the client writes to it looks like a failed request.
KEEP_ALIVE_SECONDS = 3600
GRACE_SECONDS = 5
# Bound parameters travel in the URL.
LONGEST_HEAD = 1 << 20
# A request that streams holds a thread until its client has read everything, and clients insert while they read.
MOST_THREADS = 1000


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at its end, and the process would die before the engine is closed.
        yield


async def answer_until_unused(folder: Folder, engine: Engine, password: str, listening: socket.socket) -> None:
    """Answers until the last user has ended or a signal comes."""
    protocol = Protocol(engine, password, folder.root)
    config = uvicorn.Config(
        protocol.application(),
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        # It would report every answer that is broken off on purpose; the protocol logs what goes wrong.
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=LONGEST_HEAD,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(MOST_THREADS))

    def stop() -> None:
        server.should_exit = True
        last_resort = threading.Timer(3 * GRACE_SECONDS, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    threading.Thread(target=_wait_for_last_user, args=(folder, loop, stop), daemon=True).start()
    await server.serve(sockets=[listening])
    await asyncio.to_thread(engine.kill)
    protocol.close()


def _wait_for_last_user(folder: Folder, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    held = os.open(folder.root / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    # Never given back: whoever comes now waits for the end of this process, and starts another.
    fcntl.flock(held, fcntl.LOCK_EX)
    with contextlib.suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(stop)


def _listen() -> socket.socket:
    # asyncio sends small answers at once only over a socket whose protocol is said to be TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind((LOOPBACK, 0))
    listening.listen(512)
    return listening


def run(folder: Folder, ready: int) -> None:
    """Opens the engine, says where it answers, and answers."""
    engine = Engine(folder.data)
    password = secrets.token_urlsafe(32)
    folder.write_private("password", password + "\n")
    listening = _listen()
    url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
    folder.write_state(State(url, os.getpid(), __version__))
    # From here on requests wait in the backlog, if need be.
    os.write(ready, b"ready\n")
    os.close(ready)
    asyncio.run(answer_until_unused(folder, engine, password, listening))
    folder.remove_state()
    engine.close()


def main() -> None:
    """The entry of the process."""
    parser = argparse.ArgumentParser(prog="raypipe.clickhouse.server", description="raypipe's embedded ClickHouse")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner", type=int, required=True, help="file descriptor that holds the owner's lock")
    parser.add_argument("--ready", type=int, required=True, help="file descriptor to write to when it answers")
    arguments = parser.parse_args()
    for inherited in (arguments.owner, arguments.ready):
        os.set_inheritable(inherited, False)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    run(Folder(arguments.folder), arguments.ready)


if __name__ == "__main__":
    main()
