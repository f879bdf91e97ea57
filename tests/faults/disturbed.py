"""Run raypipe's command line as on a host with a wrong clock, or with a guard switched off.

CHAOS_AHEAD=600 python -m tests.faults.disturbed score churn

CHAOS_AHEAD: seconds that the clock of this process is ahead; negative where it is behind.
CHAOS_WITHOUT: a guard of GUARDS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

from raypipe.cli.main import main
from raypipe.clickhouse import lock, swaps
from raypipe.score import gate, previous

AHEAD = "CHAOS_AHEAD"
WITHOUT = "CHAOS_WITHOUT"


class _AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


def _set_clock(ahead: timedelta) -> None:
    class Wrong(datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + ahead

    for name, module in list(sys.modules.items()):
        if name.startswith("raypipe.") and getattr(module, "datetime", None) is datetime:
            module.datetime = Wrong  # type: ignore[attr-defined]


def _without_fence() -> None:
    _replace(lock, "_fence", lambda *_: None)
    _replace(lock, "require", lambda *_: None)


def _replace(owner: object, name: str, by: Callable[..., Any]) -> None:
    setattr(owner, name, by)


GUARDS: dict[str, Callable[[], None]] = {
    "keep": lambda: _replace(previous, "keep", lambda _client, run, *_: run.previous),
    "settle": lambda: _replace(swaps, "settle", lambda *_: True),
    "fence": _without_fence,
    "pin": lambda: _replace(gate, "require_unchanged", lambda *_: None),
}


def perform() -> None:
    """Run the command of sys.argv, disturbed as the environment says."""
    _set_clock(timedelta(seconds=float(os.environ.get(AHEAD, 0))))
    if guard := os.environ.get(WITHOUT):
        GUARDS[guard]()
    main()


if __name__ == "__main__":
    perform()
