"""Test receipts: their content, and when staged rows confirm them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raypipe.score.ledger import Receipt, StagedSlice, attempts, confirms

RECEIPT = Receipt(3, 2**63 - 1, 10, 8, 2, 2**64 - 1, 2**64 - 2, 4, {"read": 0.5}, 1.0, 2.0, 99.5, {"scores": [1, 2]})
STAGED = StagedSlice(8, 4, 2**64 - 2)


def test_a_receipt_survives_its_json() -> None:
    assert Receipt.from_json(RECEIPT.to_json()) == RECEIPT


def test_staged_rows_that_are_exactly_those_of_the_receipt_confirm_it() -> None:
    assert confirms(STAGED, RECEIPT)


@pytest.mark.parametrize(
    "found",
    [None, replace(STAGED, rows=7), replace(STAGED, rows=9), replace(STAGED, chunks=5), replace(STAGED, checksum=1)],
)
def test_anything_else_does_not(found: StagedSlice | None) -> None:
    assert not confirms(found, RECEIPT)


def test_a_receipt_of_no_staged_rows_needs_none() -> None:
    assert confirms(None, replace(RECEIPT, rows_staged=0, chunks=0, staged_checksum=0))


def test_the_attempts_that_count_are_those_of_the_receipts() -> None:
    assert attempts([RECEIPT, replace(RECEIPT, attempt=5)]) == [2**63 - 1, 5]
