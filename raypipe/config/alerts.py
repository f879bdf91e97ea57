"""The sections `alerts` and `prometheus`: the rules of alerts, and the places that hear of a night."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from raypipe.config.fields import Breach, Items, SafeUrl, Section, Slug, refuse
from raypipe.masking import masked

PERFORMANCE = (
    *("auc", "average_precision", "log_loss", "brier", "ece", "accuracy", "precision", "recall", "f1"),
    *("rmse", "mae", "r2"),
)
# These have limits of their own, `monitor.psi_alert` and those of features.
DRIFT = ("score_drift", "feature_drift")
METRICS = (
    *("failed", *DRIFT, "performance_gap"),
    *PERFORMANCE,
    *(f"estimated_{name}" for name in PERFORMANCE),
)


def _web_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        refuse(Breach("is not a web address", masked(url), "http(s)://host:port/path"))
    return url


def _known_metric(name: str) -> str:
    if name not in METRICS:
        refuse(Breach("is not a metric of alerts", name, ", ".join(METRICS)))
    return name


WebUrl = Annotated[SafeUrl, AfterValidator(_web_address)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Timeout = Annotated[float, Field(gt=0, le=300, strict=False)]


class Rule(Section):
    """A limit of a metric: an alert opens beyond it, and is resolved when the metric is back."""

    metric: Annotated[str, AfterValidator(_known_metric)] = Field(
        description="failed (1 for a pipeline that failed or was refused), score_drift and feature_drift (the "
        "population stability index), performance_gap (the distance from the interval at the fit to the interval now, "
        "0 where they meet), a metric of performance such as auc, or its estimate such as estimated_auc."
    )
    above: float | None = Field(
        default=None, description="The alert opens above this value; drift without a limit: as `monitor` says."
    )
    below: float | None = Field(default=None, description="The alert opens below this value.")
    slices: bool = Field(default=False, description="Whether each slice of `monitor.slices` is compared as well.")
    nights: int = Field(default=1, ge=1, description="Consecutive dates beyond the limit that open the alert.")
    severity: Literal["warning", "critical"] = Field(default="warning", description="The urgency that receivers see.")

    @model_validator(mode="after")
    def _has_one_limit(self) -> Self:
        limits = [name for name in ("above", "below") if getattr(self, name) is not None]
        if len(limits) > 1 or (not limits and self.metric not in DRIFT):
            refuse(Breach("needs one limit", " and ".join(limits) or "none", "above or below"))
        return self


# As in the shipped base.yaml.
RULES: Mapping[str, Rule | None] = {
    "failed": Rule(metric="failed", above=0, severity="critical"),
    "score_drift": Rule(metric="score_drift", slices=True),
    "feature_drift": Rule(metric="feature_drift", slices=True),
    "performance": Rule(metric="performance_gap", above=0),
}


class Secrets(Section):
    """References to the secrets of a receiver: the values are in environment variables or files."""

    token_variable: Variable | None = Field(
        default=None, description="An environment variable with the token of the header `Authorization: Bearer`."
    )
    token_file: str | None = Field(default=None, min_length=1, description="A file with only that token.")
    ca_file: str | None = Field(
        default=None, min_length=1, description="For https, a PEM bundle to trust instead of the system's."
    )
    timeout_seconds: Timeout = Field(default=10.0, description="Seconds that a message may take in all.")


class Receiver(Secrets):
    """A receiver of alerts: a webhook, or a command."""

    form: Literal["slack", "alertmanager", "command"] = Field(
        description="slack and alertmanager: a webhook that gets the JSON which Slack's incoming webhooks or the "
        "receivers of Alertmanager know; command: a program that gets the latter on its standard input."
    )
    url: WebUrl | None = Field(default=None, description="The webhook's address, if it is no secret.")
    url_variable: Variable | None = Field(default=None, description="An environment variable with the address.")
    url_file: str | None = Field(default=None, min_length=1, description="A file with only the address.")
    command: Items[str] = Field(default=(), description="The program and its arguments; no shell reads them.")

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        names = ("url", "url_variable", "url_file", "command")
        given = [name for name in names if getattr(self, name)]
        allowed = {
            "slack": ("url_variable", "url_file"),  # Slack's address is itself the secret.
            "alertmanager": ("url", "url_variable", "url_file"),
            "command": ("command",),
        }[self.form]
        if len(given) != 1 or given[0] not in allowed:
            found = ", ".join(given) or "none"
            refuse(Breach(f"of form {self.form} needs one place", found, " or ".join(allowed)))
        return self


class Alerts(Section):
    """The alerts of a night."""

    rules: dict[Slug, Rule | None] = Field(
        default=dict(RULES), description="The rules by name; null switches a rule off."
    )
    receivers: dict[Slug, Receiver | None] = Field(
        default={}, description="The receivers by name; null removes a receiver of base.yaml."
    )


class Prometheus(Secrets):
    """The places that get a night's metrics."""

    textfile: Annotated[str, Field(pattern=r"\.prom$")] | None = Field(
        default=None, description="A file NAME.prom in the folder that the node exporter's textfile collector reads."
    )
    pushgateway: WebUrl | None = Field(default=None, description="The address of a Pushgateway.")
    job: Slug = Field(default="raypipe", description="The job at the Pushgateway; one for each database.")
