"""Evaluate a policy on the logged actions of any table: IPS, SNIPS and doubly robust.

ClickHouse adds up the actions per context, action and bucket of units; `raypipe.evaluation.off_policy` does the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import Statement, identifier, load
from raypipe.config.experiment import ROUNDING, Policy
from raypipe.config.load_experiment import LoadedExperiment
from raypipe.errors import ConfigError, DataError
from raypipe.evaluation import off_policy
from raypipe.evaluation.off_policy import Impressions, OffPolicy
from raypipe.experiment import columns, questions
from raypipe.experiment.columns import expression
from raypipe.experiment.questions import Window
from raypipe.experiment.result import BETTER, UNDECIDED, WORSE
from raypipe.progress import Progress
from raypipe.project import shipped

# Fewer effective actions say little about the policy.
FEW = 100
LISTED = 3


@dataclass(frozen=True)
class PolicyResult:
    """A policy's value beside what the logged actions earned.

    Attributes:
        contexts, actions: their numbers.
        verdict: of the self-normalized estimate against the logged actions.
    """

    experiment: str
    description: str
    window: Window
    contexts: int
    actions: int
    value: OffPolicy
    verdict: str
    decision: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {
            "experiment": self.experiment,
            "description": self.description,
            "since": self.window.since,
            "until": self.window.until,
            "contexts": self.contexts,
            "actions": self.actions,
            **self.value.to_json(),
            "verdict": self.verdict,
            "decision": self.decision,
            "warnings": self.warnings,
        }


def evaluate(
    client: Client, loaded: LoadedExperiment, policy: Policy, source: str, window: Window, progress: Progress
) -> PolicyResult:
    """Evaluate the policy of an experiment's config.

    Raises:
        ConfigError: an expression does not fit the table, or the floor makes the policy uniform.
        DataError: there are no rows, or rows lack a propensity or a reward.
    """
    bound = questions.parameters(loaded.config, window, None)
    progress("check the columns", 0, 2)
    sql = _statement("logged").render(**_fragments(client, loaded, policy, source, bound))
    progress("add up", 1, 2)
    names, rows = client.named_rows(sql, bound, questions.SETTINGS)
    logged = [dict(zip(names, row, strict=True)) for row in rows]
    _require_usable(logged)
    impressions = [Impressions(**{name: value for name, value in row.items() if name != "unusable"}) for row in logged]
    shares = _shares(client, policy, sorted({row.context for row in impressions}))
    value = off_policy.judge(impressions, shares, policy.resamples, policy.seed)
    if value is None:
        raise _no_rows()
    actions = len({row.arm for row in impressions} | {arm for _, arm in shares})
    verdict = _verdict(value)
    return PolicyResult(
        loaded.name,
        loaded.config.description,
        window,
        len({row.context for row in impressions}),
        actions,
        value,
        verdict,
        _decision(verdict),
        tuple(_warnings(value, shares, {row.context for row in impressions})),
    )


def _fragments(
    client: Client, loaded: LoadedExperiment, policy: Policy, source: str, bound: Parameters
) -> dict[str, str]:
    config = loaded.config
    stated = {name: getattr(policy, name) for name in ("action", "propensity", "reward")}
    known = {f"policy.{name}": expression(text) for name, text in stated.items()}
    known |= {f"policy.context.{at}": expression(column) for at, column in enumerate(policy.context)}
    kinds = columns.types(client, source, {**questions.expressions(config), **known}, bound)
    for name in ("propensity", "reward"):
        columns.require_number(f"policy.{name}", kinds[f"policy.{name}"])
    if config.exposure:
        columns.require_time("exposure.time", kinds["exposure.time"])
    return {
        **{name: expression(text) for name, text in stated.items()},
        "context": _context(policy),
        "unit": ", ".join(expression(column) for column in config.unit),
        "source": source,
        "where": expression(config.where) if config.where else "1",
        "inside": questions.inside(config, kinds.get("exposure.time", "")),
    }


def _context(policy: Policy) -> str:
    parts = [f"ifNull(toString({expression(column)}), '')" for column in policy.context]
    # JSON joins several columns without a doubt about where one ends.
    return parts[0] if len(parts) == 1 else f"toJSONString([{', '.join(parts)}])" if parts else "''"


def _shares(client: Client, policy: Policy, contexts: Sequence[str]) -> dict[tuple[str, str], float]:
    """Return the policy with its floor, by context and action."""
    if policy.table is None:
        stated = {context: {arm.name: arm.share for arm in policy.shares} for context in contexts}
    else:
        stated = {}
        table = identifier(policy.table)
        for context, arm, share in client.rows(_statement("policy").render(context=_context(policy), table=table)):
            stated.setdefault(context, {})[arm] = share
    shares: dict[tuple[str, str], float] = {}
    for context, arms in stated.items():
        _require_distribution(policy, context, arms)
        total = sum(arms.values())
        raised = off_policy.with_floor(np.array(list(arms.values())) / total, policy.floor, context)
        shares |= {(context, arm): float(share) for arm, share in zip(arms, raised, strict=True)}
    return shares


def _require_distribution(policy: Policy, context: str, arms: Mapping[str, float]) -> None:
    total, least = sum(arms.values()), min(arms.values())
    if abs(total - 1) > ROUNDING or least < 0:
        raise ConfigError(
            f"The shares of {policy.table or 'the policy'} are no probabilities in the context {context!r}",
            found=f"a sum of {total:g}, the least {least:g}",
            allowed="shares from 0 to 1 that add up to 1 in every context",
            next_step="correct the policy",
        )


def _require_usable(logged: Sequence[Mapping[str, Any]]) -> None:
    unusable = sum(row["unusable"] for row in logged)
    if not logged:
        raise _no_rows()
    if unusable:
        rows = unusable + sum(row["impressions"] for row in logged)
        raise DataError(
            "Logged actions cannot be weighed",
            found=f"{unusable:,} of {rows:,} rows lack a propensity above 0 and up to 1, or a finite reward",
            next_step="leave them out by `where`, if they are missing at random; log the propensity of every action",
        )


def _no_rows() -> DataError:
    return DataError(
        "There are no logged actions",
        found="no row that counts",
        next_step="check `where` and the days of `exposure` against the table",
    )


def _verdict(value: OffPolicy) -> str:
    low, high = value.gain.low, value.gain.high
    if low is not None and low > 0:
        return BETTER
    return WORSE if high is not None and high < 0 else UNDECIDED


def _decision(verdict: str) -> str:
    return {
        BETTER: "Take the policy: it would have earned more than the logged actions.",
        WORSE: "Keep the logging policy: this policy would have earned less.",
        UNDECIDED: "Keep the logging policy for now: no difference is shown.",
    }[verdict]


def _warnings(value: OffPolicy, shares: Mapping[tuple[str, str], float], contexts: set[str]) -> list[str]:
    warnings = []
    unknown = sorted(contexts - {context for context, _ in shares})
    if unknown:
        listed = ", ".join(unknown[:LISTED])
        warnings.append(f"the policy has no shares for {len(unknown)} contexts, such as {listed}; they stay as logged")
    if value.unsupported > 0:
        warnings.append(f"{value.unsupported:.1%} of the policy's actions were never logged in their context")
    if value.effective < FEW:
        warnings.append(f"the estimate rests on {value.effective:.0f} effective actions of {value.impressions:,}")
    return warnings


def _statement(name: str) -> Statement:
    return load(shipped() / "sql" / "experiment" / f"{name}.sql")
