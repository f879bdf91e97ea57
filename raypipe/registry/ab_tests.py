"""Write rows of ml_model_ab_tests; a later row with the same `test_id` replaces an earlier row."""

from collections.abc import Mapping, Sequence
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import describe
from raypipe.errors import UsageError
from raypipe.registry import rows

TESTS = "ml_model_ab_tests"
# The statuses of a test that two writers share.
RUNNING, DECIDED = "RUNNING", "COMPLETED"


def require_table(client: Client) -> None:
    """Refuse to begin where the result could not be stored.

    Raises:
        UsageError: the database has no table ml_model_ab_tests.
    """
    if describe(client, TESTS) is None:
        raise UsageError(
            "The result of the experiment has no table",
            found=f"no {TESTS} in {client.endpoint.database}",
            next_step="`raypipe migrate` creates it; --no-save only shows the result",
        )


def write(client: Client, tests: Sequence[Mapping[str, Any]]) -> int:
    """Insert tests in a single block, and return their number."""
    rows.write(client, TESTS, tests)
    return len(tests)
