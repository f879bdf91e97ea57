"""Write log and progress as JSON, a line each, for a collector of logs."""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_wanted = False


def choose(as_json: bool) -> None:
    """Set whether this command logs as JSON."""
    global _wanted
    _wanted = as_json


def is_wanted() -> bool:
    """Return whether this command logs as JSON."""
    return _wanted


def write(level: str, message: str, at: datetime | None = None, **fields: Any) -> None:
    """Write a line: the time in UTC, the level, the message and further fields."""
    moment = at or datetime.now(UTC)
    document = {"time": moment.isoformat(timespec="milliseconds"), "level": level, "message": message, **fields}
    sys.stderr.write(json.dumps(document, default=str) + "\n")
    sys.stderr.flush()


class Handler(logging.Handler):
    """Writes records of `logging`, with the traceback where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name}
            if record.exc_info:
                fields["traceback"] = logging.Formatter().formatException(record.exc_info)
            at = datetime.fromtimestamp(record.created, UTC)
            write(record.levelname.lower(), record.getMessage(), at, **fields)
        except Exception:
            self.handleError(record)


def progress() -> Callable[[str, int, int], None]:
    """Return a callback that writes a line per stage and per tenth of a stage."""
    started = time.perf_counter()
    last: tuple[str, int] | None = None

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last
        step = (stage, 10 * done // total if total else 0)
        if step == last:
            return
        last = step
        pipeline, colon, rest = stage.partition(": ")
        fields: dict[str, Any] = {"stage": rest if colon else stage, "done": done, "total": total}
        if colon:
            fields["pipeline"] = pipeline
        write("info", "progress", **fields, seconds=round(time.perf_counter() - started, 3))

    return report
