"""Send alerts to a receiver: a webhook, or a command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from raypipe.alerts import messages, web
from raypipe.alerts.rules import Alert
from raypipe.alerts.secret import reveal
from raypipe.config.alerts import Receiver
from raypipe.masking import masked


def deliver(name: str, receiver: Receiver, alerts: Sequence[Alert]) -> None:
    """Send alerts in one message.

    Raises:
        NotDelivered: the receiver did not take the message.
        ConfigError: a secret is missing.
    """
    body = messages.slack(alerts) if receiver.form == "slack" else messages.alertmanager(alerts, name)
    document = json.dumps(body).encode()
    if receiver.form == "command":
        _run(receiver.command, document, receiver.timeout_seconds)
        return
    key = f"alerts.receivers.{name}"
    web.send(
        "POST",
        receiver.url or reveal(f"{key}.url", receiver.url_variable, receiver.url_file) or "",
        document,
        content_type="application/json",
        token=reveal(f"{key}.token", receiver.token_variable, receiver.token_file),
        ca_file=receiver.ca_file,
        timeout_seconds=receiver.timeout_seconds,
    )


def _run(command: Sequence[str], document: bytes, timeout_seconds: float) -> None:
    """Run a program with the document on its standard input, and require the exit code 0."""
    # Files, since a child of the program may hold a pipe open beyond the program's end.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(document)
        given.seek(0)
        try:
            program = subprocess.Popen(
                command, stdin=given, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise web.NotDelivered(f"{command[0]} cannot be started", found=error.strerror) from error
        try:
            code = program.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
            raise web.NotDelivered(f"{command[0]} did not end within {timeout_seconds:g} seconds") from error
        if code:
            errors.seek(0)
            text = errors.read(web.MOST_BYTES).decode("utf-8", errors="replace")
            raise web.NotDelivered(f"{command[0]} failed", found=masked(f"exit code {code} {' '.join(text.split())}"))
