"""The sections that all pipelines share: base.yaml sets them, a pipeline may change them."""

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from raypipe.config.alerts import Alerts, Prometheus
from raypipe.config.evaluate import Evaluate
from raypipe.config.fields import Breach, ClickHouseUrl, Column, SafeUrl, Section, Share, refuse
from raypipe.config.monitor import Monitor


def _known_zone(name: str) -> str:
    try:
        # UTC works without a time zone database, which a small image may lack.
        if name != "UTC":
            ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        refuse(Breach("is not a known time zone", name, "an IANA name such as UTC or Europe/Helsinki"))
    return name


# The place of models that is the table raypipe_artifacts.
CLICKHOUSE = "clickhouse"

TimeZone = Annotated[str, AfterValidator(_known_zone)]


class Connection(Section):
    """The address of ClickHouse. The password never stands here."""

    url: ClickHouseUrl = Field(
        default="chdb:.raypipe/clickhouse",
        description="http(s)://user@host:port/database for a server, host:port,host:port for replicas, or chdb:PATH "
        "for the embedded engine; RAYPIPE_URL and --url take precedence.",
    )
    password_file: str | None = Field(
        default=None, min_length=1, description="A file with only the password; null: RAYPIPE_PASSWORD, or none."
    )
    ca_file: str | None = Field(
        default=None, min_length=1, description="For https, a PEM bundle to trust instead of the system's."
    )
    cluster: Column | None = Field(
        default=None, description="The server's name for the cluster that holds the tables; null: one server."
    )
    timeout_seconds: int = Field(
        default=600,
        ge=10,
        description="Seconds without a byte from the server that end a statement. Progress counts, so a long statement "
        "may take longer.",
    )
    quorum: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        default="auto",
        description="On a cluster, the replicas of a shard that have to hold an insert before it counts; auto: more "
        "than half of them.",
    )
    wait_seconds: int = Field(
        default=60,
        ge=5,
        description="On a cluster, the seconds that a replica gets to follow before a command fails and names it.",
    )


class RayConfig(Section):
    """The Ray cluster, or the machine, that does the work."""

    address: str | None = Field(
        default=None,
        min_length=1,
        description="The address of a running cluster, auto, or local to start Ray here; null: no Ray.",
    )
    cpus: int | None = Field(
        default=None, ge=1, description="CPUs of this machine for threads, or for a Ray started here; null: all."
    )


class SplitConfig(Section):
    """The division of past rows into training, validation and test rows."""

    train_snapshots: int = Field(
        default=3, ge=1, description="Snapshots (dates) to fit on, all older than the test snapshot."
    )
    train_every_days: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        default="auto",
        description="The fewest days between two of them; auto: 28 where snapshots are less than 7 days apart, or as "
        "many as the history allows; otherwise the newest snapshots.",
    )
    test_share: Share = Field(default=0.25, description="Share of the entities held out for the test, between 0 and 1.")
    validation_share: Share = Field(
        default=0.15, description="Share of the entities for early stopping and the decision threshold."
    )
    max_train_rows: int = Field(
        default=500_000, ge=1, description="Maximum number of training rows in all; beyond it rows are sampled."
    )
    seed: int = Field(default=7, ge=0, description="Seed of the split and of all samples: a fit can be repeated.")

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        total = self.test_share + self.validation_share
        if total >= 1:
            message = "and validation_share leave no training rows"
            refuse(Breach(message, f"{total:g} together", "less than 1 together", ("test_share",)))
        return self


class Actors(Section):
    """The threads that score on this machine, or the actors that score on a Ray."""

    max: int | None = Field(
        default=None,
        ge=1,
        description="The most threads or actors; null: as the CPUs allow. For more, a cluster grows.",
    )
    cpus: int = Field(default=1, ge=1, description="CPUs of each thread or actor, which its model uses.")
    restarts: int = Field(default=3, ge=0, description="Restarts of an actor that died before the run fails.")


class Explain(Section):
    """The published rows with their top features (exact SHAP contributions, about 800 times the cost of a score)."""

    rows: int = Field(default=1000, ge=0, description="Rows to explain, the highest scores first; 0: none.")
    features: int = Field(default=5, ge=1, description="Features per explained row.")


class Score(Section):
    """The scoring and staging of a population."""

    slice_rows: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        default="auto",
        description="Rows of a slice, the unit of work of an actor and of a resumed run; auto: a quarter of the"
        " population, but at least 250,000 and at most 500,000.",
    )
    chunk_rows: int = Field(
        default=100_000, ge=1, le=1_000_000, description="Rows of an insert, which is written whole or not at all."
    )
    actors: Actors = Field(default=Actors(), description="The threads or actors that score.")
    max_rejected: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Nothing is published above this share of rows without a key or a usable score.",
    )
    duplicates: Literal["refuse", "keep_one"] = Field(
        default="refuse", description="For a repeated key: refuse the run, or keep_one, the highest score."
    )
    explain: Explain = Field(default=Explain(), description="The published rows that get their top features.")

    @property
    def rows_per_slice(self) -> int | None:
        """Return the rows of a slice; None where they follow from the population."""
        return None if self.slice_rows == "auto" else self.slice_rows


class SharedConfig(Section):
    """The content of base.yaml: the connection, the places, and the defaults of all pipelines."""

    connection: Connection = Field(default=Connection(), description="The address of ClickHouse.")
    timezone: TimeZone = Field(default="UTC", description="The time zone in which days begin and end, an IANA name.")
    artifacts: SafeUrl = Field(
        default=CLICKHOUSE,
        description="The place of models: clickhouse (the table raypipe_artifacts), a folder, or an fsspec address "
        "such as s3://bucket/path.",
    )
    ray: RayConfig = Field(default=RayConfig(), description="The Ray cluster that does the work.")
    split: SplitConfig = Field(default=SplitConfig(), description="Training, validation and test rows.")
    evaluate: Evaluate = Field(default=Evaluate(), description="How a fitted model is judged.")
    score: Score = Field(default=Score(), description="The scoring and staging of a population.")
    monitor: Monitor = Field(default=Monitor(), description="The drift that is worth a message.")
    alerts: Alerts = Field(default=Alerts(), description="The rules and the receivers of alerts.")
    prometheus: Prometheus = Field(default=Prometheus(), description="The places that get a night's metrics.")
