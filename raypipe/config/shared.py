"""The sections that every pipeline shares: base.yaml sets them, a pipeline may change them."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from raypipe.config.evaluate import Evaluate
from raypipe.config.fields import Breach, ClickHouseUrl, Column, SafeUrl, Section, Share, refuse


def _known_zone(name: str) -> str:
    try:
        # UTC needs no time zone database, which a small image may lack.
        if name != "UTC":
            ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        refuse([Breach("is not a known time zone", name, "an IANA name such as UTC or Europe/Helsinki")])
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class Connection(Section):
    """Where ClickHouse answers. The password never stands here."""

    url: ClickHouseUrl = Field(
        default="chdb:.raypipe/clickhouse",
        description="http(s)://user@host:port/database for a server, or chdb:PATH for the embedded engine; RAYPIPE_URL "
        "and --url outweigh it.",
    )
    password_file: str | None = Field(
        default=None,
        min_length=1,
        description="A file with nothing but the password; null: the variable RAYPIPE_PASSWORD, or no password.",
    )
    ca_file: str | None = Field(
        default=None, min_length=1, description="A PEM bundle to trust instead of the system's, for https."
    )
    cluster: Column | None = Field(
        default=None,
        description="The cluster of the server's configuration on which the tables live; null: a single server.",
    )


class RayConfig(Section):
    """The Ray cluster that the work runs on."""

    address: str | None = Field(
        default=None,
        min_length=1,
        description="The address of a running cluster, or auto; null: start Ray on this machine for the command.",
    )
    cpus: int | None = Field(
        default=None, ge=1, description="CPUs to use when Ray is started on this machine; null: all of them."
    )


class SplitConfig(Section):
    """How past rows are divided into training, validation and test rows."""

    train_snapshots: int = Field(
        default=3, ge=1, description="How many snapshots (dates), older than the test snapshot, are fitted on."
    )
    test_share: Share = Field(default=0.25, description="Share of the entities held out for the test, between 0 and 1.")
    validation_share: Share = Field(
        default=0.15,
        description="Share of the entities used for early stopping and for the decision threshold, between 0 and 1.",
    )
    max_train_rows: int = Field(
        default=2_000_000,
        ge=1,
        description="Training rows at most; beyond it entities are sampled by a hash of their key.",
    )
    seed: int = Field(
        default=7, ge=0, description="Seed of the split and of every sample, so that a fit can be repeated."
    )

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        total = self.test_share + self.validation_share
        if total >= 1:
            refuse(
                [
                    Breach(
                        "and validation_share leave no training rows",
                        f"{total:g} together",
                        "less than 1 together",
                        ("test_share",),
                    )
                ]
            )
        return self


class Actors(Section):
    """The pool of scoring actors."""

    max: int | None = Field(
        default=None,
        ge=1,
        description="Actors at most; null: as many as the CPUs hold. With more, an autoscaling cluster grows.",
    )
    cpus: int = Field(default=1, ge=1, description="CPUs reserved for each actor, which are also its threads.")
    restarts: int = Field(
        default=3, ge=0, description="How often an actor that died is started again before the run fails."
    )


class Explain(Section):
    """Which published rows get their top features (exact SHAP contributions, about 800 times the cost of a score)."""

    rows: int = Field(default=1000, ge=0, description="Explained rows, those with the highest scores first; 0: none.")
    features: int = Field(default=5, ge=1, description="Features named for each explained row.")


class Score(Section):
    """How a population is scored and staged."""

    slice_rows: int = Field(
        default=250_000,
        ge=1,
        description="Rows of a slice, the unit that an actor takes and that a resumed run repeats.",
    )
    chunk_rows: int = Field(
        default=100_000,
        ge=1,
        le=1_000_000,
        description="Rows of one insert into the staging table; one insert is one block, applied whole or not at all.",
    )
    actors: Actors = Field(default=Actors(), description="The pool of scoring actors.")
    max_rejected: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Share of rows that may be rejected (a NULL key, a score that is not finite) before the run stops.",
    )
    duplicates: Literal["refuse", "keep_one"] = Field(
        default="refuse",
        description="What a key that occurs twice in the population means: refuse stops the run, keep_one publishes "
        "the row with the highest score.",
    )
    explain: Explain = Field(default=Explain(), description="Which published rows get their top features.")


class Monitor(Section):
    """When a drift of the scores or of a feature is worth a message."""

    psi_warning: float = Field(
        default=0.1, gt=0, description="Population stability index from which a feature or the score is a warning."
    )
    psi_alert: float = Field(default=0.25, gt=0, description="Population stability index from which it is an alert.")

    @model_validator(mode="after")
    def _alert_above_warning(self) -> Self:
        if self.psi_alert <= self.psi_warning:
            refuse(
                [
                    Breach(
                        "is not above psi_warning",
                        f"{self.psi_alert:g}",
                        f"more than {self.psi_warning:g}",
                        ("psi_alert",),
                    )
                ]
            )
        return self


class SharedConfig(Section):
    """What base.yaml holds: the connection, the places, and the defaults of all pipelines."""

    connection: Connection = Field(default=Connection(), description="Where ClickHouse answers.")
    timezone: TimeZone = Field(default="UTC", description="The time zone in which days are cut, an IANA name.")
    artifacts: SafeUrl = Field(
        default=".raypipe/artifacts",
        description="Where model artifacts are kept: a folder or any fsspec address such as s3://bucket/path.",
    )
    ray: RayConfig = Field(default=RayConfig(), description="The Ray cluster that the work runs on.")
    split: SplitConfig = Field(
        default=SplitConfig(), description="How past rows are divided into training, validation and test rows."
    )
    evaluate: Evaluate = Field(default=Evaluate(), description="How a fitted model is judged.")
    score: Score = Field(default=Score(), description="How a population is scored and staged.")
    monitor: Monitor = Field(default=Monitor(), description="When drift is worth a message.")
