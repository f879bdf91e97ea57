"""Choose the columns of a slice's bounds, and write their values as text that a query can bind."""

import re
from collections.abc import Sequence

from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table

_INSTANT = re.compile(r"^DateTime(?:64\((\d)[^)]*\)|\([^)]*\))?$")


def orders(table: Table, name: str) -> bool:
    """Return whether comparisons of a column cover every value; NULL and NaN compare with nothing."""
    types = {column.name: column.type for column in table.columns}
    return (
        name in types
        and "Nullable(" not in types[name]
        and not _plain(types[name]).startswith(("Float", "BFloat", "Array", "Tuple", "Map"))
    )


def plain_types(table: Table, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns' types without LowCardinality, which a parameter cannot have."""
    types = {column.name: column.type for column in table.columns}
    return tuple(_plain(types[name]) for name in columns)


def bound_types(table: Table, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the parameter types for the text of `bound_texts`: the columns' own, with instants in UTC."""
    return tuple(_INSTANT.sub(_in_utc, type_name) for type_name in plain_types(table, columns))


def bound_texts(table: Table, columns: Sequence[str]) -> str:
    """Return SQL that writes the columns as text from which the server reads the same value.

    When a clock is set back in autumn, a local time stands for two instants, so instants are written in UTC.
    """
    types = plain_types(table, columns)
    return ", ".join(
        f"toString(toTimeZone({name}, 'UTC'))" if _INSTANT.match(type_name) else f"toString({name})"
        for name, type_name in zip(map(identifier, columns), types, strict=True)
    )


def _in_utc(instant: re.Match[str]) -> str:
    return f"DateTime64({instant[1]}, 'UTC')" if instant[1] else "DateTime('UTC')"


def _plain(type_name: str) -> str:
    inner = type_name.removeprefix("LowCardinality(")
    return inner[:-1] if inner != type_name else type_name
