"""Sessions that last longer than a request: a client names them by `session_id`."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from raypipe.clickhouse.facade.engine import Engine, Session
from raypipe.clickhouse.facade.failure import Failure
from raypipe.clickhouse.facade.request import Asked

LONGEST_SECONDS = 3600.0


@dataclass
class _Kept:
    session: Session
    expires: float
    is_busy: bool = True


class Sessions:
    """The open sessions of an engine. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def take(self, asked: Asked) -> Session:
        """The session for a request: its own, or the named one, which nobody else may use meanwhile."""
        if not asked.session_id:
            return self._engine.session()
        with self._lock:
            self._expire()
            kept = self._kept.get(asked.session_id)
            if kept is None:
                if asked.must_exist:
                    raise Failure(372, f"Session {asked.session_id} not found", "SESSION_NOT_FOUND")
                kept = self._kept[asked.session_id] = _Kept(self._engine.session(), 0.0)
            elif kept.is_busy:
                raise Failure(373, f"Session {asked.session_id} is locked by a concurrent client", "SESSION_IS_LOCKED")
            kept.is_busy = True
            return kept.session

    def give_back(self, asked: Asked, session: Session) -> None:
        """Ends a request's session, or keeps the named one for the time the client asked for."""
        if not asked.session_id:
            session.close()
            return
        with self._lock:
            kept = self._kept[asked.session_id]
            kept.is_busy = False
            kept.expires = time.monotonic() + min(asked.session_seconds, LONGEST_SECONDS)

    def close(self) -> None:
        """Ends every session that no request is using."""
        with self._lock:
            for name in [name for name, kept in self._kept.items() if not kept.is_busy]:
                self._kept.pop(name).session.close()

    def _expire(self) -> None:
        now = time.monotonic()
        for name in [name for name, kept in self._kept.items() if not kept.is_busy and kept.expires < now]:
            self._kept.pop(name).session.close()
