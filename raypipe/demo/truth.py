"""Find the statement that scores a demo's entities by the latent truth."""

from __future__ import annotations

from raypipe.clickhouse.statements import Statement, load
from raypipe.project import shipped


def best_reachable(pipeline: str) -> Statement | None:
    """Return the statement that scores a pipeline's entities by the latent truth, or None."""
    path = shipped() / "sql" / "demo" / f"best_reachable_{pipeline}.sql"
    return load(path) if path.exists() else None
