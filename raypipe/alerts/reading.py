"""The values that rules judge: one metric of a pipeline on a date, for all rows or for a slice."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Place:
    """The subject of a reading.

    Attributes:
        subject: a feature; empty where the metric has no subject.
        slice_column: empty for all rows.
    """

    pipeline: str
    metric: str
    subject: str = ""
    slice_column: str = ""
    slice_value: str = ""

    def __str__(self) -> str:
        slice_ = f" where {self.slice_column} is {self.slice_value}" if self.slice_column else ""
        return f"{self.pipeline}: {self.metric}{f' of {self.subject}' if self.subject else ''}{slice_}"


@dataclass(frozen=True)
class Reading:
    """A value.

    Attributes:
        date: of the predictions, or of the night for the metric `failed`.
        is_alert: whether the value is beyond the limit of `monitor`, for rules of drift without a limit.
        note: more words for the message of an alert, such as the reason of a failure.
    """

    place: Place
    date: date
    value: float
    is_alert: bool = False
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """The end of one step of a night: of a pipeline, or of the features.

    Attributes:
        reason: why it failed or was refused; empty if it is done.
    """

    pipeline: str
    is_done: bool
    seconds: float
    reason: str = ""

    def reading(self, day: date) -> Reading:
        """Return the metric `failed` of the step."""
        note = self.reason.splitlines()[0] if self.reason else ""
        return Reading(Place(self.pipeline, "failed"), day, float(not self.is_done), note=note)
