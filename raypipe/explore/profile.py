"""Profile a database: its inventory, each table, then the relationships of the tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.explore import inventory, tables
from raypipe.explore.facts import DatabaseProfile, Limits, Relation, TableProfile
from raypipe.explore.guesses import guess
from raypipe.explore.questions import Questions
from raypipe.explore.relations import verify
from raypipe.explore.sample import ReadPlan
from raypipe.progress import Progress


def profile(
    client: Client,
    names: Sequence[str] = (),
    *,
    taken_at: datetime,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> DatabaseProfile:
    """Profile the client's database without writing to it; a table that fails is reported and skipped.

    Args:
        client: its endpoint names the database.
        names: only these tables, and the references among them; every table if empty.
        taken_at: the time of the profile, with a zone.
        limits: the bounds of the work; None for `Limits()`.
        progress: called after each table and each reference.

    Raises:
        UsageError: a named table does not exist.
        Unreachable: the server no longer answers.
    """
    started = time.monotonic()
    limits = limits or Limits()
    report = progress or _silent
    described, errors = inventory.take(client, names)
    profiles: dict[str, TableProfile] = {}
    plans: dict[str, ReadPlan] = {}
    for done, table in enumerate(described):
        report("tables", done, len(described))
        name = table.profile.table
        profiles[name], plan = tables.examine(client, table, limits, taken_at)
        if plan is not None:
            plans[name] = plan
    report("tables", len(described), len(described))
    guessed = guess(list(profiles.values()))
    relations: list[Relation] = []
    for relation in guessed:
        report("relations", len(relations), len(guessed))
        relations.append(verify(Questions(client, limits), relation, profiles, plans))
    report("relations", len(guessed), len(guessed))
    return DatabaseProfile(
        database=client.endpoint.database,
        server=client.version,
        taken_at=taken_at,
        limits=limits,
        tables=tuple(profiles.values()),
        relations=tuple(relations),
        errors=tuple(errors),
        seconds=round(time.monotonic() - started, 3),
    )


def document(report: DatabaseProfile) -> dict[str, Any]:
    """Return the profile as a JSON-ready document."""
    return asdict(report)


def _silent(stage: str, done: int, total: int) -> None:
    return None
