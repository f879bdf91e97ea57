"""The process of an embedded engine: ClickHouse's own server out of chDB's wheel.

`raypipe.clickhouse.embedded.start` starts it as `python -m raypipe.clickhouse.embedded.process FOLDER OWNER`, where
OWNER is the file descriptor that holds the owner's lock. It closes its stdout when the engine answers. It ends with
the last of its users, or on SIGTERM or SIGINT.

chDB's extension runs the main function of clickhouse-local, which reads ./config.xml and can listen as a server does.
The INSERT below keeps it running: it reads a pipe until this process closes the other end.
"""

import os
import secrets
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

from raypipe.clickhouse.embedded.folder import EngineState, Folder
from raypipe.clickhouse.embedded.settings import CONFIG, LOOPBACK, users

ENDING_SECONDS = 5.0
_POLL_SECONDS = 0.02
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STATEMENTS = """
SYSTEM START LISTEN HTTP;
SELECT getServerPort('http_port') INTO OUTFILE '/dev/fd/{port}' TRUNCATE FORMAT TabSeparated;
INSERT INTO FUNCTION null('line String') FROM INFILE '/dev/fd/{end}' FORMAT LineAsString;
SYSTEM STOP LISTEN HTTP;
KILL QUERY WHERE user != '' ASYNC FORMAT Null
"""


def main(folder: Folder, owner: int) -> None:
    """Run the engine until its end."""
    os.set_inheritable(owner, False)
    ready = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.umask(0o077)
    folder.data.mkdir(exist_ok=True)
    # An engine of before may have made it readable to others.
    folder.data.chmod(0o700)
    # Threads inherit the mask: the signals wait for `_end_on_signal`, whatever ClickHouse does with them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    password = secrets.token_urlsafe(32)
    folder.write_private("password", password + "\n")
    folder.write_private("config.xml", CONFIG)
    folder.write_private("users.xml", users(password))
    told, port = os.pipe()
    end, ended = os.pipe()
    for work, *arguments in ((_announce, told, ready), (_end_on_signal, ended), (_end_unused,)):
        threading.Thread(target=work, args=(folder, *arguments), daemon=True).start()
    result = _extension().query(_STATEMENTS.format(port=port, end=end), "TabSeparated", path=str(folder.data))
    # What ClickHouse says before it has read its configuration, it does not log.
    sys.stderr.write(result.error_message().partition(", Stack trace")[0])
    sys.stderr.flush()
    # The interpreter's own end would take its time and wait for ClickHouse's threads.
    os._exit(0)


def _extension() -> Any:
    """Load chDB's extension alone: its package would open an engine of its own, and import pandas."""
    package = find_spec("chdb")
    assert package is not None
    found = PathFinder.find_spec("_chdb", package.submodule_search_locations)
    assert found is not None
    assert found.loader is not None
    extension = module_from_spec(found)
    found.loader.exec_module(extension)
    return extension


def _announce(folder: Folder, told: int, ready: int) -> None:
    port = int(os.read(told, 16))
    folder.write_state(EngineState(f"http://{LOOPBACK}:{port}", os.getpid()))
    os.close(ready)


def _end_unused(folder: Folder) -> None:
    folder.wait_for_last_user()
    os.kill(os.getpid(), signal.SIGTERM)


def _end_on_signal(folder: Folder, ended: int) -> None:
    signal.sigwait(_SIGNALS)
    folder.remove_state()
    os.close(ended)
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline:
        _hang_up()
        time.sleep(_POLL_SECONDS)
    os._exit(1)


def _hang_up() -> None:
    """Close the clients' connections: clickhouse-local would wait for them, also for idle ones."""
    for descriptor in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):
            connection = socket.socket(fileno=descriptor)
            try:
                connection.getpeername()
                connection.shutdown(socket.SHUT_RDWR)
            finally:
                connection.detach()


if __name__ == "__main__":
    main(Folder(Path(sys.argv[1])), int(sys.argv[2]))
