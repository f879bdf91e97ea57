"""The errors that a user of raypipe can meet, each with the next step.

RaypipeError            exit 1
├── UsageError          exit 2   an unusable argument, or a name that does not exist
├── ConfigError         exit 2   an unusable config file or contract
├── ServerError         exit 1   ClickHouse refused or failed; carries its error code
│   ├── Unreachable              nothing answers at the address
│   ├── Denied                   wrong password or a missing grant
│   └── Transient                the same request may succeed later
├── DataError           exit 1   the data is not what the contract says
├── ModelError          exit 1   an artifact or a registered model cannot be used
│   ├── OutdatedArtifact         the artifact has the format of another version of raypipe
│   └── PredictorDiffers         compiled trees and the library do not give one answer
├── ClusterError        exit 1   a Ray cluster does not answer, or does not accept the user
├── Busy                exit 1   another run or process holds the lock
└── GateRefused         exit 3   a check says that publishing would be wrong
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class RaypipeError(Exception):
    """An error whose message names the thing, the value found, what is allowed and the next step.

    Args:
        problem: one sentence that says what happened.
        found: the value that caused it, if there is one.
        allowed: the values that are accepted.
        next_step: what the user should do now.
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        found: object = None,
        allowed: object = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.found = found
        self.allowed = allowed
        self.next_step = next_step

    def __str__(self) -> str:
        lines = [self.problem]
        for label, value in (("found", self.found), ("allowed", self.allowed), ("next", self.next_step)):
            if value is not None:
                lines.append(f"  {label}: {value}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """Return the error's document for --json; `code` is the exit code."""
        parts = {"found": self.found, "allowed": self.allowed}
        texts = {name: None if value is None else str(value) for name, value in parts.items()}
        return {"error": {"problem": self.problem, **texts, "next_step": self.next_step, "code": self.exit_code}}

    def __reduce__(self) -> tuple[object, ...]:
        # Ray pickles exceptions across processes; keyword-only arguments need this help.
        return (_rebuild, (type(self), self.problem, self.__dict__))


def _rebuild(kind: type[RaypipeError], problem: str, state: dict[str, object]) -> RaypipeError:
    error = kind.__new__(kind)
    Exception.__init__(error, problem)
    error.__dict__.update(state)
    return error


class UsageError(RaypipeError):
    """An argument cannot be used, or names something that does not exist."""

    exit_code = 2


class ConfigError(RaypipeError):
    """A configuration file, an override or a feature contract cannot be used."""

    exit_code = 2


class ServerError(RaypipeError):
    """ClickHouse refused or failed a request.

    Attributes:
        code: ClickHouse's numeric error code, or None when the answer had none.
    """

    code: int | None = None


class Unreachable(ServerError):
    """Nothing that speaks ClickHouse's HTTP protocol answers at the address."""


class Denied(ServerError):
    """ClickHouse does not accept the password, or the user lacks a grant."""


class Transient(ServerError):
    """The request failed for a reason that passes; repeating it is sensible."""


class DataError(RaypipeError):
    """The data is not what the contract, the query or the run expects."""


class ModelError(RaypipeError):
    """A model's artifact or its registration cannot be used."""


class OutdatedArtifact(ModelError):
    """An artifact has the format of another version of raypipe, so nothing can score with it any more."""


class PredictorDiffers(ModelError):
    """Compiled trees and the model's library do not give a run one answer; the library alone has to score it."""


class ClusterError(RaypipeError):
    """A Ray cluster cannot be reached, refuses the user, or failed."""


class Busy(RaypipeError):
    """Another run or process holds what this one needs."""


class GateRefused(RaypipeError):
    """A check before publishing failed; the target is unchanged."""

    exit_code = 3


def together(errors: Sequence[RaypipeError]) -> RaypipeError:
    """Return one error, of the first's type, that lists all of these."""
    if len(errors) == 1:
        return errors[0]
    body = "\n".join(f"  {line}" for error in errors for line in str(error).splitlines())
    return type(errors[0])(f"There are {len(errors)} problems\n{body}", next_step="correct each of them")


@contextmanager
def advised(next_step: str) -> Iterator[None]:
    """Add a next step to an error from inside that has none; often only the caller knows the user's intention."""
    try:
        yield
    except RaypipeError as error:
        if error.next_step is None:
            error.next_step = next_step
        raise
