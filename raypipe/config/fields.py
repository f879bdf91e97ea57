"""The base of all sections of the configuration, checked types of values, and broken rules."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from raypipe.masking import masked

T = TypeVar("T")

# By pattern, the accepted text in words, for the error messages.
PATTERNS = {
    r"^[A-Za-z_][A-Za-z0-9_]*$": "letters, digits and underscores, not starting with a digit",
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$": "table or database.table, letters, digits and underscores",
    r"^[a-z][a-z0-9_]*$": "lower-case letters, digits and underscores, starting with a letter",
    r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*\.sql$": "a path inside the sql folder, such as churn/publish.sql",
    r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)+\.yaml$": "a path inside the configs folder, such as shared/users.yaml",
    r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$": "module:Class, such as raypipe.models.xgboost:XGBoost",
}
_COLUMN, _TABLE, _SLUG, _SQL, YAML_PATH, _CLASS = PATTERNS

Column = Annotated[str, Field(pattern=_COLUMN)]
Table = Annotated[str, Field(pattern=_TABLE)]
Slug = Annotated[str, Field(pattern=_SLUG)]
SqlPath = Annotated[str, Field(pattern=_SQL)]
YamlPath = Annotated[str, Field(pattern=YAML_PATH)]
ClassPath = Annotated[str, Field(pattern=_CLASS)]
Share = Annotated[float, Field(gt=0, lt=1)]
# YAML has lists, the frozen sections have tuples; only this conversion is lenient.
Items = Annotated[tuple[T, ...], Field(strict=False)]


class Section(BaseModel):
    """A part of the configuration: immutable; unknown keys and values of another type are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )


@dataclass(frozen=True)
class Breach:
    """A rule that a value breaks.

    Attributes:
        message: the rule, continuing a sentence that starts with the key.
        found: the value, in words that show no secret.
        allowed: the values that would be accepted.
        at: the key concerned, below the value that was checked.
        top: whether `at` starts at the top of the configuration instead.
    """

    message: str
    found: str | None = None
    allowed: str | None = None
    at: tuple[str | int, ...] = ()
    top: bool = False


def refuse(*breaches: Breach) -> None:
    """Raise one error that carries all the breaches, if there are any."""
    if breaches:
        context: dict[str, Any] = {
            "text": "; ".join(f"{breach.message} (found {breach.found})" for breach in breaches),
            "breaches": [asdict(breach) for breach in breaches],
        }
        raise PydanticCustomError("breach", "{text}", context)


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return the values, or refuse those that occur more than once."""
    refuse(*(Breach("repeats a value", value, "each value once") for value in repeated(map(str, values))))
    return values


Columns = Annotated[Items[Column], AfterValidator(distinct)]


# Beside urlsplit, which overlooks a password that contains `/` or `@`.
_CREDENTIALS = re.compile(r"(?i)://[^:@/\s]*:.*@|(?:password|passwd|secret|token|key)=[^&\s]")


def _without_credentials(url: str) -> str:
    if _CREDENTIALS.search(url):
        allowed = (
            "an address without one: put it into RAYPIPE_PASSWORD or a file named by connection.password_file "
            "(an object store's keys into its own environment variables)"
        )
        refuse(Breach("contains a password or a key", masked(url), allowed))
    return url


# Several replicas stand as `host:port,host:port`.
_HOSTS = re.compile(r"\A((?:\w+://)?(?:[^@/]*@)?)([^/@]*)(.*)", re.DOTALL)


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        server = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        # With an unquoted `/` in the user's name, the password would pass for a path.
        return bool(server and not parts.query and not parts.fragment and "@" not in parts.path)
    except ValueError:
        return False


def _clickhouse_address(url: str) -> str:
    before, hosts, after = _HOSTS.findall(url)[0]
    usable = all(_is_server(f"{before}{host}{after}") for host in hosts.split(","))
    if not usable and not re.match(r"chdb:.*\S", url):
        refuse(Breach("is not a ClickHouse address", masked(url), "http(s)://user@host:port/database, or chdb:PATH"))
    return url


SafeUrl = Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)]
ClickHouseUrl = Annotated[SafeUrl, AfterValidator(_clickhouse_address)]
