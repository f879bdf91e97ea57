"""Assign units to arms by a hash: the same function in Python and in ClickHouse's SQL.

The arm of a unit depends on the salt and on the unit's key alone: SHA-256 of salt and key, its first eight bytes as a
number from 0 to 2⁶⁴, and the cumulated shares as bounds. SHA-256 is exact everywhere, and its values are uniform for
any keys; another salt assigns independently (Kohavi, Tang and Xu 2020, "Trustworthy Online Controlled Experiments",
chapter 15).
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

from raypipe.clickhouse.statements import literal
from raypipe.config.experiment import Arm

RANGE = 2**64
# ASCII's unit separator stands between the salt and the parts of a key.
SEPARATOR = "\x1f"


def arm_of(key: Sequence[object], salt: str, arms: Sequence[Arm]) -> str:
    """Return the arm of a unit.

    Args:
        key: the values of the unit's columns, as ClickHouse's `toString` writes them.
        arms: in the order of the experiment's config.
    """
    text = SEPARATOR.join([salt, *map(str, key)])
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return next((arm.name for arm, bound in zip(arms, bounds(arms), strict=False) if number < bound), arms[-1].name)


def arm_sql(columns: Sequence[str], salt: str, arms: Sequence[Arm]) -> str:
    """Return the SQL expression of a unit's arm.

    Args:
        columns: the unit's columns, quoted, or expressions.
    """
    parts = f", char({ord(SEPARATOR)}), ".join([literal(salt), *(f"toString({column})" for column in columns)])
    number = f"reinterpretAsUInt64(reverse(substring(SHA256(concat({parts})), 1, 8)))"
    cases = [f"{number} < {bound}, {literal(arm.name)}" for arm, bound in zip(arms, bounds(arms), strict=False)]
    return f"multiIf({', '.join(cases)}, {literal(arms[-1].name)})"


def bounds(arms: Sequence[Arm]) -> list[int]:
    """Return the bound below which the numbers of each arm lie, except of the last, which has no bound."""
    total = sum(arm.share for arm in arms)
    return [int(cumulated / total * RANGE) for cumulated in accumulate(arm.share for arm in arms[:-1])]
