"""How a model version becomes champion after its fit.

its contract fits the features and the champion's → evidence on the same rows, or a reason → aliases
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from raypipe.artifact.contract import describe_query, difference
from raypipe.artifact.package import Card, load_card, load_package
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import Loaded
from raypipe.data.slices import unsliced
from raypipe.errors import DataError, GateRefused, ModelError, UsageError
from raypipe.evaluation.decision import Decision
from raypipe.fit.recipe import recipe_of
from raypipe.registry import aliases, champion, models
from raypipe.registry.aliases import CHAMPION, PREVIOUS
from raypipe.registry.record import PRODUCTION, Registered
from raypipe.score import prepare
from raypipe.versions.evidence import compare


@dataclass(frozen=True)
class Promoted:
    """A version that became champion.

    Attributes:
        version: the new champion.
        previous: the version that was champion before; None for the first.
        reason: as it stands in the history.
        decision: the comparison, where evidence decided.
    """

    version: Registered
    previous: str | None
    reason: str
    decision: Decision | None


def promote(
    endpoint: Endpoint,
    loaded: Loaded,
    reference: str,
    *,
    reason: str,
    set_by: str,
    if_better: bool,
    changed_contract: bool,
    take_over: bool = False,
) -> Promoted:
    """Makes a registered version the champion.

    Args:
        endpoint: the ClickHouse.
        loaded: the pipeline's config.
        reference: the version, an alias such as `challenger`, or `latest`.
        reason: why, for the history; may be empty with `if_better`, whose comparison is then the reason.
        set_by: who decided.
        if_better: whether it has to beat the champion on the same test rows by more than noise.
        changed_contract: whether it may read other columns than the champion.
        take_over: whether another run's lock may be taken.

    Raises:
        ModelError: there is no such version, or nothing to score with.
        UsageError: it is champion already, or there is no champion to compare with.
        DataError: its contract does not fit the features query, or is another one than the champion's.
        GateRefused: it is not better by more than noise.
        Busy: a run of the pipeline is at work, or somebody else promoted meanwhile.
    """
    pipeline = loaded.config.pipeline
    with Client(endpoint) as client:
        model = models.find(client, pipeline, reference)
        standing = models.find_alias(client, pipeline, CHAMPION)
        if standing is not None and standing.version == model.version and model.status == PRODUCTION:
            raise UsageError(
                f"{model.version} is the champion of {pipeline} already",
                next_step=f"`raypipe models {pipeline}` lists the others",
            )
        card = fitting_card(client, loaded, model)
        if standing is not None and not changed_contract:
            _require_same_contract(standing, model, card)
        decision = _decide(client, loaded, model, standing) if if_better else None
        why = reason or (decision.reason if decision else "")
        with lock.held(client, pipeline, take_over=take_over):
            version = _settle(client, model, standing, why, set_by)
        before = aliases.current(client, pipeline, PREVIOUS)
    return Promoted(version, before.version if before else None, why, decision)


def fitting_card(client: Client, loaded: Loaded, model: Registered) -> Card:
    """The verified card of a version whose contract fits today's features query."""
    models.require_artifact(model)
    card = load_card(model.artifact_uri, model.artifact_sha256)
    people = prepare.population(client, loaded, None)
    parameters = {**people.parameters, **card.contract.parameters}
    card.contract.check(describe_query(client, unsliced(people.features.text), parameters))
    return card


def _settle(client: Client, model: Registered, standing: Registered | None, why: str, set_by: str) -> Registered:
    """The promotion itself, under the lock: only if what was looked at before it holds still."""
    champion.require_champion(client, model.pipeline, standing.version if standing else None)
    known = models.find(client, model.pipeline, model.version)
    # A prune that came between may have marked it.
    models.require_artifact(known)
    return champion.promote(client, known, why, set_by, datetime.now(UTC))


def _require_same_contract(standing: Registered, model: Registered, card: Card) -> None:
    try:
        expected = load_card(standing.artifact_uri, standing.artifact_sha256).contract
    except ModelError as error:
        raise ModelError(
            f"The contract of the champion {standing.version} cannot be read, so that nothing can be compared with it",
            found=error.problem,
            next_step="restore its artifact, or repeat with --changed-contract, which promotes without looking at it",
        ) from error
    changes = difference(expected.schema, card.contract.schema)
    if expected.keys != card.contract.keys:
        changes.insert(0, f"entity key ({', '.join(card.contract.keys)}) instead of ({', '.join(expected.keys)})")
    if changes:
        raise DataError(
            f"{model.version} reads other columns than the champion {standing.version}",
            found="; ".join(changes),
            allowed="a version with the champion's contract",
            next_step="repeat with --changed-contract when the change is meant",
        )


def _decide(client: Client, loaded: Loaded, model: Registered, standing: Registered | None) -> Decision:
    pipeline = loaded.config.pipeline
    if standing is None:
        raise UsageError(
            f"{pipeline} has no champion to compare {model.version} with",
            allowed="--if-better where a champion stands",
            next_step="promote it with --reason alone",
        )
    recipe = recipe_of(client, loaded, None)
    challenger, champion = (load_package(one.artifact_uri, one.artifact_sha256) for one in (model, standing))
    decision = compare(client, recipe, challenger, champion)
    if not decision.promote:
        raise GateRefused(
            f"{model.version} was not promoted: it is not shown to be better than {standing.version}",
            found=decision.reason,
            allowed="a difference whose whole 95 % interval is above zero",
            next_step="wait for more labels, or promote it with --reason alone",
        )
    return decision
