"""Profile a database: its inventory, each table, then the relationships of the tables."""

import time
from collections.abc import Sequence
from datetime import datetime

from raypipe.clickhouse.client import Client
from raypipe.explore import inventory, tables
from raypipe.explore.facts import DatabaseProfile, Limits, Relation, TableProfile
from raypipe.explore.guesses import guess
from raypipe.explore.questions import Questions
from raypipe.explore.relations import verify
from raypipe.explore.sample import ReadPlan
from raypipe.progress import Progress, silent


def profile(
    client: Client,
    names: Sequence[str] = (),
    *,
    taken_at: datetime,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    progress: Progress = silent,
) -> DatabaseProfile:
    """Profile the client's database without writing to it; a table that fails is reported and skipped.

    Args:
        names: only these tables, and the references among them; every table if empty.

    Raises:
        UsageError: a named table does not exist.
        Unreachable: the server no longer answers.
    """
    started = time.monotonic()
    described, errors = inventory.take(client, names)
    profiles: dict[str, TableProfile] = {}
    plans: dict[str, ReadPlan] = {}
    for done, table in enumerate(described):
        progress("tables", done, len(described))
        name = table.profile.table
        profiles[name], plan = tables.examine(client, table, limits, taken_at)
        if plan is not None:
            plans[name] = plan
    progress("tables", len(described), len(described))
    guessed = guess(list(profiles.values()))
    relations: list[Relation] = []
    for relation in guessed:
        progress("relations", len(relations), len(guessed))
        relations.append(verify(Questions(client, limits), relation, profiles, plans))
    progress("relations", len(guessed), len(guessed))
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
