"""The gate of a write: only the rows of the program reach the target, with distinct keys."""

from collections.abc import Sequence

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table, expirations
from raypipe.dataset.attempt import Receipt
from raypipe.dataset.journal import Entry
from raypipe.errors import GateRefused


def check(
    client: Client,
    twin: str,
    target: Table,
    entry: Entry,
    receipts: Sequence[Receipt],
    rows: int,
    keys: Sequence[str],
) -> None:
    """Compare the collected rows with the receipts and with Ray's own count.

    Raises:
        GateRefused: they disagree, or a key is NULL or not distinct, or the table would delete the rows at once.
    """
    staged = int(client.value(f"SELECT count() FROM {identifier(twin)}"))
    reported = sum(receipt.rows for receipt in receipts)
    rules = expirations(target.engine_full)
    if rules and staged < reported == rows:
        # The server need not wait for a merge.
        raise _short_lived(entry, rows - staged, rules[0])
    if not staged == reported == rows:
        raise _refusal(
            entry,
            "the staged rows are not the rows of the program",
            f"{staged} rows staged, {reported} reported by the tasks",
            f"{rows} rows, as Ray Data counts them",
            "write the run again",
        )
    if keys:
        _require_keys(client, twin, entry, rows, keys)
    for rule in rules:
        over = int(client.value(f"SELECT countIf(({rule}) <= now()) FROM {identifier(twin)}"))
        if over:
            raise _short_lived(entry, over, rule)


def _require_keys(client: Client, twin: str, entry: Entry, rows: int, keys: Sequence[str]) -> None:
    names = ", ".join(map(identifier, keys))
    nulls = " OR ".join(f"isNull({identifier(name)})" for name in keys)
    # Distinct hashes prove distinct keys, and are counted in half the time.
    counts = f"SELECT countIf({nulls}), uniqExact(cityHash64({names})) FROM {identifier(twin)}"
    ((missing, distinct),) = client.rows(counts)
    if missing:
        raise _refusal(
            entry,
            "keys are NULL",
            f"{missing} of {rows} rows",
            "no NULL in a key",
            "filter these rows, or correct keys",
        )
    if distinct != rows:
        distinct = int(client.value(f"SELECT uniqExact({names}) FROM {identifier(twin)}"))
    if distinct != rows:
        sample = client.rows(f"SELECT {names} FROM {identifier(twin)} GROUP BY {names} HAVING count() > 1 LIMIT 3")
        raise _refusal(
            entry,
            "keys are not distinct",
            f"{rows - distinct} of {rows} rows, for example {', '.join(map(str, sample))}",
            f"each {', '.join(keys)} once",
            "drop the duplicates before write_datasink, or correct keys",
        )


def _short_lived(entry: Entry, rows: int, rule: str) -> GateRefused:
    return _refusal(
        entry,
        f"{entry.target} would delete rows at once",
        f"{rows} rows past TTL {rule}",
        "rows that last",
        f"filter these rows, or alter the TTL of {entry.target}",
    )


def _refusal(entry: Entry, problem: str, found: str, allowed: str, next_step: str) -> GateRefused:
    return GateRefused(
        f"The run {entry.run} was not written into {entry.target}: {problem}",
        found=found,
        allowed=allowed,
        next_step=next_step,
    )
