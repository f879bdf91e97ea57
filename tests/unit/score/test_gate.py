"""Test the gate's arithmetic without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from raypipe.errors import GateRefused
from raypipe.score import gate
from raypipe.score.manifest import Manifest


def manifest(**changes: Any) -> Manifest:
    known = {"run_id": "churn_1", "source_rows": 1000, "max_rejected": 0.001, **changes}
    return cast(Manifest, SimpleNamespace(**known))


@pytest.mark.parametrize(("rows", "share", "rejected"), [(1000, 0.001, 1), (999, 0.001, 0), (10, 0, 0), (10, 1, 10)])
def test_rejected_rows_up_to_the_share_pass(rows: int, share: float, rejected: int) -> None:
    gate.check_rejected(manifest(source_rows=rows, max_rejected=share), rejected)


@pytest.mark.parametrize(("rows", "share", "rejected"), [(1000, 0.001, 2), (999, 0.001, 1), (10, 0, 1)])
def test_one_more_is_refused_with_where_to_find_them(rows: int, share: float, rejected: int) -> None:
    with pytest.raises(GateRefused, match="too many rows") as refused:
        gate.check_rejected(manifest(source_rows=rows, max_rejected=share), rejected)
    assert refused.value.found == f"{rejected} of {rows} rows"
    assert "run_id = 'churn_1'" in str(refused.value.next_step)
