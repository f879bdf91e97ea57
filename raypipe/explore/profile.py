"""A database's profile: its inventory, each table on its own, then how the tables hang together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.explore import inventory, tables
from raypipe.explore.facts import Limits, Relation, Report, Table
from raypipe.explore.guesses import guess
from raypipe.explore.questions import Questions
from raypipe.explore.relations import verify
from raypipe.explore.sample import Plan
from raypipe.progress import Progress


def profile(
    client: Client,
    names: Sequence[str] = (),
    *,
    taken_at: datetime,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Report:
    """The profile of the client's database. Reads only; a table that fails is reported, and the rest goes on.

    Args:
        client: whose endpoint names the database.
        names: only these tables, and the references among them; every table if empty.
        taken_at: when, with a zone.
        limits: what bounds the work; `Limits()` if not given.
        progress: called with a stage, what is done of it and the total.

    Raises:
        UsageError: a table that was named does not exist.
        Unreachable: the server went away.
    """
    started = time.monotonic()
    limits = limits or Limits()
    report = progress or _silent
    standing, errors = inventory.take(client, names)
    found: dict[str, Table] = {}
    plans: dict[str, Plan] = {}
    for done, one in enumerate(standing):
        report("tables", done, len(standing))
        found[one.table], plan = tables.examine(client, one, limits, taken_at)
        if plan is not None:
            plans[one.table] = plan
    report("tables", len(standing), len(standing))
    guessed = guess(list(found.values()))
    relations: list[Relation] = []
    for relation in guessed:
        report("relations", len(relations), len(guessed))
        relations.append(verify(Questions(client, limits), relation, found, plans))
    report("relations", len(guessed), len(guessed))
    return Report(
        database=client.endpoint.database,
        server=client.version,
        taken_at=taken_at,
        limits=limits,
        tables=tuple(found.values()),
        relations=tuple(relations),
        errors=tuple(errors),
        seconds=round(time.monotonic() - started, 3),
    )


def document(report: Report) -> dict[str, Any]:
    """The report as one document, laid out as `facts` says."""
    return asdict(report)


def _silent(stage: str, done: int, total: int) -> None:
    return None
