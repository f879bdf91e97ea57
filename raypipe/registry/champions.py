"""Make a version the champion, and roll back to the version before it.

The aliases decide, and move after the statuses. Where a step was interrupted in between, repeating the step finishes
it. If the aliases moved first, a repeated rollback would go back one version too far.
"""

from dataclasses import dataclass
from datetime import datetime

from raypipe.clickhouse.client import Client
from raypipe.errors import Busy, UsageError
from raypipe.registry import aliases, models
from raypipe.registry.aliases import CHALLENGER, CHAMPION, PREVIOUS, Alias
from raypipe.registry.record import PRODUCTION, Registered


@dataclass(frozen=True)
class Reversal:
    """The aliases that a rollback moves.

    Attributes:
        outgoing: the champion that is replaced.
        restored: the version that becomes champion again.
        previous: the new `previous`; None where there is no version further back.
    """

    outgoing: Alias
    restored: Alias
    previous: Alias | None


def promote(
    client: Client, model: Registered, reason: str, set_by: str, at: datetime, *, provisional: bool = False
) -> Registered:
    """Make a version the champion, and the champion before it `previous`.

    Promoting the champion again only corrects its status, or ends its being provisional.
    """
    promoted = models.set_status(client, model, PRODUCTION, at, deployed_by=set_by, provisional=provisional)
    standing = aliases.current(client, model.pipeline, CHAMPION)
    is_other = standing is None or standing.version != model.version
    if is_other or model.is_provisional > provisional:
        moves: dict[str, Registered | Alias | None] = {CHAMPION: model}
        if standing is not None and is_other:
            moves[PREVIOUS] = standing
        aliases.move(client, model.pipeline, {**moves, **_no_challenger(client, model)}, reason, set_by, at)
    return promoted


def require_champion(client: Client, pipeline: str, expected: str | None) -> None:
    """Refuse to go on when the champion is no longer the expected version; None expects no champion.

    Raises:
        Busy: another process promoted or rolled back meanwhile.
    """
    standing = models.find_alias(client, pipeline, CHAMPION)
    version = standing.version if standing else None
    if version != expected:
        raise Busy(
            f"The champion of {pipeline} changed meanwhile",
            found=f"{version or 'no champion'}; it was {expected or 'none'} when this began",
            next_step=f"look at `raypipe models history {pipeline}`, then decide again",
        )


def challenge(client: Client, model: Registered, reason: str, set_by: str, at: datetime) -> None:
    """Make a version that did not beat the champion the `challenger`, where there is a champion."""
    if aliases.current(client, model.pipeline, CHAMPION) is not None:
        aliases.move(client, model.pipeline, {CHALLENGER: model}, reason, set_by, at)


def challenges(client: Client, champion: Registered) -> int:
    """Return the number of challenges that a champion has withstood since it became champion."""
    newest_first = [period.assignment for period in aliases.history(client, champion.pipeline)]
    since = next((alias for alias in newest_first if alias.alias == CHAMPION), None)
    if since is None or since.version != champion.version:
        return 0
    later = [alias for alias in newest_first if alias.set_at > since.set_at]
    return sum(alias.alias == CHALLENGER and alias.version != "" for alias in later)


def reversal(client: Client, pipeline: str) -> Reversal:
    """Plan a rollback of a pipeline.

    `previous` goes back to its value of the time when the restored version was last champion. Two rollbacks in a row
    therefore go back two versions, and never alternate between two.

    Raises:
        UsageError: there is no champion, or no version before it.
    """
    outgoing = aliases.current(client, pipeline, CHAMPION)
    restored = aliases.current(client, pipeline, PREVIOUS)
    if outgoing is None or restored is None:
        raise UsageError(
            f"{pipeline} has no previous version to roll back to",
            found=f"champion {outgoing.version}, and none before it" if outgoing else "no champion",
            allowed="a pipeline with a champion that replaced another version",
            next_step=f"`raypipe models history {pipeline}` lists its champions;"
            " `raypipe models promote` makes any version champion",
        )
    return Reversal(outgoing, restored, _before(client, outgoing, restored))


def _before(client: Client, outgoing: Alias, restored: Alias) -> Alias | None:
    """Return the `previous` of the time when the restored version was last champion, but neither of the two."""
    named = restored
    for period in aliases.history(client, outgoing.pipeline, CHAMPION):
        if period.until is None or period.assignment.version != named.version:
            continue
        previous = aliases.current(client, outgoing.pipeline, PREVIOUS, period.until - aliases.MICROSECOND)
        if previous is None or previous.version not in (outgoing.version, restored.version):
            return previous
        named = previous
    return None


def restore(client: Client, planned: Reversal, reason: str, set_by: str, at: datetime) -> Registered:
    """Make the version before champion again.

    Raises:
        UsageError: the restored version is no longer registered.
    """
    pipeline = planned.outgoing.pipeline
    model = models.find(client, pipeline, planned.restored.version)
    promoted = models.set_status(client, model, PRODUCTION, at, deployed_by=set_by)
    moves: dict[str, Registered | Alias | None] = {CHAMPION: model, PREVIOUS: planned.previous}
    aliases.move(client, pipeline, {**moves, **_no_challenger(client, model)}, reason, set_by, at)
    return promoted


def _no_challenger(client: Client, champion: Registered) -> dict[str, Registered | Alias | None]:
    """Return the move that clears the challenger where it is the new champion."""
    challenger = aliases.current(client, champion.pipeline, CHALLENGER)
    return {CHALLENGER: None} if challenger and challenger.version == champion.version else {}
