"""Compare two versions of a model as the arms of an experiment: the same labelled rows, scored by both."""

from dataclasses import dataclass
from typing import Any

from raypipe.artifact.package import load_package
from raypipe.clickhouse.client import Client
from raypipe.config.experiment import Models
from raypipe.config.load import Loaded
from raypipe.errors import UsageError
from raypipe.fit.evidence import Evidence, compare_versions
from raypipe.fit.recipe import recipe_of
from raypipe.registry import models
from raypipe.registry.record import Registered


@dataclass(frozen=True)
class ModelsResult:
    """Two versions on the same rows.

    Attributes:
        evidence: the treatment as the challenger, the control as the champion.
    """

    experiment: str
    description: str
    control: Registered
    treatment: Registered
    evidence: Evidence

    @property
    def winner(self) -> str:
        """Return the better version; '' where the difference may be noise."""
        low, high = self.evidence.decision.low, self.evidence.decision.high
        if low is not None and low > 0:
            return self.treatment.version
        return self.control.version if high is not None and high < 0 else ""

    @property
    def decision(self) -> str:
        """Return what to do, in a sentence."""
        if self.winner == self.treatment.version:
            return f"Promote it: `raypipe models promote {self.treatment.pipeline} {self.winner} --if-better`."
        return f"Keep {self.control.version}: {self.evidence.decision.reason}."

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        found = self.evidence.decision
        return {
            "experiment": self.experiment,
            "description": self.description,
            "pipeline": self.control.pipeline,
            "control": self.control.version,
            "treatment": self.treatment.version,
            "metric": found.metric,
            "rows": self.evidence.rows,
            "date": self.evidence.test_date.isoformat(),
            "values": {"control": self.evidence.champion, "treatment": self.evidence.challenger},
            "difference": {"value": found.difference, "low": found.low, "high": found.high},
            "winner": self.winner,
            "decision": self.decision,
        }


def compare(client: Client, experiment: str, description: str, settings: Models, loaded: Loaded) -> ModelsResult:
    """Score the newest test rows with both versions, and compare.

    Args:
        loaded: the config of the pipeline that `settings` names.

    Raises:
        UsageError: a version does not exist, or both are the same.
        DataError: the versions cannot be compared on today's rows.
    """
    control, treatment = (
        models.find(client, settings.pipeline, name) for name in (settings.control, settings.treatment)
    )
    if control.version == treatment.version:
        raise UsageError(
            f"{experiment} compares a version with itself",
            found=control.version,
            allowed="two versions",
            next_step=f"`raypipe models {settings.pipeline}` lists the versions",
        )
    packages = []
    for version in (treatment, control):
        models.require_artifact(version)
        packages.append(
            load_package(
                version.artifact_uri,
                version.artifact_sha256,
                client,
                pipeline=version.pipeline,
                version=version.version,
            )
        )
    evidence = compare_versions(client, recipe_of(client, loaded, None), *packages)
    return ModelsResult(experiment, description, control, treatment, evidence)
