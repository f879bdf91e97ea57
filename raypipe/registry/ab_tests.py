"""Write rows of ml_model_ab_tests; a later row with the same `test_id` replaces an earlier row."""

from collections.abc import Mapping, Sequence
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.registry import rows

TESTS = "ml_model_ab_tests"
# The statuses of a test that two writers share.
RUNNING, DECIDED = "RUNNING", "COMPLETED"


def write(client: Client, tests: Sequence[Mapping[str, Any]]) -> int:
    """Insert tests in a single block, and return their number."""
    rows.write(client, TESTS, tests)
    return len(tests)
