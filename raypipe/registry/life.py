"""How a version becomes champion, and how the one before becomes it again: aliases and statuses together.

The aliases decide, and move last: statuses that run ahead of them are those of a step that was interrupted, and
repeating it finishes it. The other way round, a rollback that is repeated would go one version further back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from raypipe.clickhouse.client import Client
from raypipe.errors import Busy, ModelError, UsageError
from raypipe.registry import aliases, models
from raypipe.registry.aliases import CHALLENGER, CHAMPION, PREVIOUS, Alias
from raypipe.registry.record import PRODUCTION, Registered


@dataclass(frozen=True)
class Reversal:
    """What a rollback does to the aliases.

    Attributes:
        outgoing: the champion that goes.
        restored: the version that becomes champion again.
        previous: what `previous` names from then on; None where there is no version further back.
    """

    outgoing: Alias
    restored: Alias
    previous: Alias | None


def promote(client: Client, model: Registered, reason: str, set_by: str, at: datetime) -> Registered:
    """Makes a version the champion, and the one that was `previous`.

    Args:
        client: of the database with the registry.
        model: the version; promoting the champion again only puts its status right.
        reason: why, for the history.
        set_by: who or what decided.
        at: the moment, UTC.
    """
    promoted = models.set_status(client, model, PRODUCTION, at, deployed_by=set_by)
    standing = aliases.current(client, model.pipeline, CHAMPION)
    if standing is None or standing.version != model.version:
        moves: dict[str, Registered | Alias | None] = {CHAMPION: model}
        if standing is not None:
            moves[PREVIOUS] = standing
        aliases.move(client, model.pipeline, {**moves, **_no_challenger(client, model)}, reason, set_by, at)
    return promoted


def require_champion(client: Client, pipeline: str, expected: str | None) -> None:
    """Refuses to go on where another version is champion than the one that a decision rests on.

    Args:
        client: of the database with the registry.
        pipeline: the pipeline.
        expected: the version that was champion when the decision began; None where there was none.

    Raises:
        Busy: somebody promoted or rolled back meanwhile.
    """
    standing = models.find_alias(client, pipeline, CHAMPION)
    found = standing.version if standing else None
    if found != expected:
        raise Busy(
            f"Another version of {pipeline} became champion meanwhile",
            found=f"{found or 'no champion'}, which was {expected or 'none'} when this began",
            next_step=f"look at `raypipe models history {pipeline}`, then decide anew",
        )


def challenge(client: Client, model: Registered, reason: str, set_by: str, at: datetime) -> None:
    """Makes a version that did not beat the champion the `challenger`; nothing where there is no champion."""
    if aliases.current(client, model.pipeline, CHAMPION) is not None:
        aliases.assign(client, model.pipeline, CHALLENGER, model, reason, set_by, at)


def reversal(client: Client, pipeline: str) -> Reversal:
    """What a rollback of a pipeline would do.

    `previous` goes back to what it was when the restored version was champion last, or further where that is the very
    version that goes now: two rollbacks in a row go two versions back, and never to and fro.

    Raises:
        UsageError: there is no champion, or none before it.
    """
    outgoing = aliases.current(client, pipeline, CHAMPION)
    restored = aliases.current(client, pipeline, PREVIOUS)
    if outgoing is None or restored is None:
        raise UsageError(
            f"{pipeline} has no previous version to roll back to",
            found=f"champion {outgoing.version}, and none before it" if outgoing else "no champion at all",
            allowed="a pipeline whose champion took another one's place",
            next_step=f"`raypipe models history {pipeline}` shows what was champion when;"
            " `raypipe models promote` makes any version champion",
        )
    return Reversal(outgoing, restored, _before(client, outgoing, restored))


def _before(client: Client, outgoing: Alias, restored: Alias) -> Alias | None:
    """What `previous` named when the restored version was champion last, but never one of the two."""
    named = restored
    for period in aliases.history(client, outgoing.pipeline, CHAMPION):
        if period.until is None or period.assignment.version != named.version:
            continue
        found = aliases.at_time(client, outgoing.pipeline, PREVIOUS, period.until - aliases.MICROSECOND)
        if found is None or found.version not in (outgoing.version, restored.version):
            return found
        named = found
    return None


def restore(client: Client, found: Reversal, reason: str, set_by: str, at: datetime) -> Registered:
    """Makes the version before champion again.

    Raises:
        UsageError: the restored version is not registered any more.
    """
    pipeline = found.outgoing.pipeline
    model = models.find(client, pipeline, found.restored.version)
    promoted = models.set_status(client, model, PRODUCTION, at, deployed_by=set_by)
    moves: dict[str, Registered | Alias | None] = {CHAMPION: model, PREVIOUS: found.previous}
    aliases.move(client, pipeline, {**moves, **_no_challenger(client, model)}, reason, set_by, at)
    return promoted


def require_artifact(model: Registered) -> None:
    """Refuses a version that has no artifact to score with.

    Raises:
        ModelError: the fit did not get so far, or the artifact was pruned.
    """
    if model.pruned_at:
        raise ModelError(
            f"The artifact of {model.pipeline} {model.version} was pruned",
            found=f"removed on {model.pruned_at}",
            next_step=f"choose another of `raypipe models {model.pipeline}`, or fit a new version",
        )
    if not model.artifact_sha256:
        raise ModelError(
            f"{model.pipeline} {model.version} has no artifact",
            found=f"status {model.status}",
            allowed="a version whose fit was completed",
            next_step=f"choose another of `raypipe models {model.pipeline}`",
        )


def _no_challenger(client: Client, champion: Registered) -> dict[str, Registered | Alias | None]:
    """The move that ends a version's being the challenger, where it is."""
    found = aliases.current(client, champion.pipeline, CHALLENGER)
    return {CHALLENGER: None} if found and found.version == champion.version else {}
