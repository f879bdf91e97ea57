"""What nobody can do better on a demo: statements that rank, or list, by the latent truth."""

from __future__ import annotations

from raypipe.clickhouse.statements import Statement, load
from raypipe.project import shipped


def best_reachable(pipeline: str) -> Statement | None:
    """The statement that scores a pipeline's entities by the latent truth; None where there is none."""
    path = shipped() / "sql" / "demo" / f"best_reachable_{pipeline}.sql"
    return load(path) if path.exists() else None
