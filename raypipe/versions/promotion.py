"""Promote a registered version to champion.

its contract fits the features query and the champion's → evidence on the same rows, or a reason → aliases
"""

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
from raypipe.evaluation.challenges import error_of
from raypipe.evaluation.decision import Decision
from raypipe.fit.evidence import compare_versions
from raypipe.fit.recipe import recipe_of
from raypipe.registry import aliases, champions, models
from raypipe.registry.aliases import CHAMPION, PREVIOUS
from raypipe.registry.record import PRODUCTION, Registered
from raypipe.score import prepare


@dataclass(frozen=True)
class Promoted:
    """A version that became champion.

    Attributes:
        previous: the champion before; None for the first.
        decision: the comparison that decided; None without one.
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
    """Make a registered version the champion.

    Args:
        reference: the version, an alias such as `challenger`, or `latest`.
        reason: the reason for the history; may be empty with `if_better`, whose comparison is then the reason.
        if_better: whether the version must beat the champion on the same test rows by more than noise.
        changed_contract: whether the version may read other columns than the champion.

    Raises:
        ModelError: the version has no artifact.
        UsageError: there is no such version, it is the champion already, or there is no champion to compare with.
        DataError: the version's contract differs from the features query or from the champion's contract.
        GateRefused: the version is not better by more than noise.
        Busy: a run of the pipeline holds the lock, or the champion changed in the meantime.
    """
    pipeline = loaded.config.pipeline
    with Client(endpoint) as client:
        model = models.find(client, pipeline, reference)
        champion = models.find_alias(client, pipeline, CHAMPION)
        is_champion = champion is not None and champion.version == model.version and model.status == PRODUCTION
        if is_champion and (if_better or not model.is_provisional):
            raise UsageError(
                f"{model.version} is the champion of {pipeline} already",
                next_step=f"`raypipe models {pipeline}` lists the others",
            )
        card = fitting_card(client, loaded, model)
        if champion and not changed_contract:
            _require_same_contract(client, champion, model, card)
        decision = _decide(client, loaded, model, champion, set_by) if if_better else None
        stated = reason or (decision.reason if decision else "")
        with lock.held(client, pipeline, take_over=take_over):
            version = _promote(client, model, champion, stated, set_by)
        before = aliases.current(client, pipeline, PREVIOUS)
    return Promoted(version, before.version if before else None, stated, decision)


def fitting_card(client: Client, loaded: Loaded, model: Registered) -> Card:
    """Return the verified card of a version; refuse a contract that today's features query does not fulfil."""
    models.require_artifact(model)
    card = load_card(model.artifact_uri, model.artifact_sha256, client, pipeline=model.pipeline, version=model.version)
    population = prepare.population(client, loaded, None)
    parameters = {**population.parameters, **card.contract.parameters}
    card.contract.check(describe_query(client, unsliced(population.features.text), parameters))
    return card


def _promote(client: Client, model: Registered, champion: Registered | None, reason: str, set_by: str) -> Registered:
    """Promote under the lock, if neither the champion nor the artifact has changed since the checks."""
    champions.require_champion(client, model.pipeline, champion.version if champion else None)
    current = models.find(client, model.pipeline, model.version)
    # A prune in between may have marked the version.
    models.require_artifact(current)
    return champions.promote(client, current, reason, set_by, datetime.now(UTC))


def _require_same_contract(client: Client, champion: Registered, model: Registered, card: Card) -> None:
    try:
        expected = load_card(
            champion.artifact_uri, champion.artifact_sha256, client, pipeline=model.pipeline, version=champion.version
        ).contract
    except ModelError as error:
        raise ModelError(
            f"The contract of the champion {champion.version} cannot be read",
            found=f"{error.problem}: {error.found}",
            next_step="restore its artifact, or repeat with --changed-contract to skip the comparison",
        ) from error
    changes = difference(expected.schema, card.contract.schema)
    if expected.keys != card.contract.keys:
        changes.insert(0, f"entity key ({', '.join(card.contract.keys)}) instead of ({', '.join(expected.keys)})")
    if changes:
        raise DataError(
            f"{model.version} reads other columns than the champion {champion.version}",
            found="; ".join(changes),
            allowed="a version with the champion's contract",
            next_step="repeat with --changed-contract when the change is meant",
        )


def _decide(client: Client, loaded: Loaded, model: Registered, champion: Registered | None, set_by: str) -> Decision:
    """Compare a version with the champion; a version that does not win is recorded as its challenger."""
    pipeline = loaded.config.pipeline
    if champion is None:
        raise UsageError(
            f"{pipeline} has no champion to compare {model.version} with",
            allowed="--if-better for a pipeline with a champion",
            next_step="promote it with --reason alone",
        )
    recipe = recipe_of(client, loaded, None)
    packages = [
        load_package(version.artifact_uri, version.artifact_sha256, client, pipeline=pipeline, version=version.version)
        for version in (model, champion)
    ]
    error = error_of(champions.challenges(client, champion) + 1)
    decision = compare_versions(client, recipe, *packages, error=error).decision
    if not decision.promote:
        champions.challenge(client, model, decision.reason, set_by, datetime.now(UTC))
        raise GateRefused(
            f"{model.version} was not promoted: it is not shown to be better than {champion.version}",
            found=decision.reason,
            allowed=f"a difference whose whole interval of {100 * decision.level:.6g} % is above zero",
            next_step="wait for more labels, or promote it with --reason alone",
        )
    return decision
