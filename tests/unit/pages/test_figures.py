"""Test the formatting of figures."""

from __future__ import annotations

import pytest

from raypipe.pages.figures import share, size


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0.0 %"),
        (10, 10, "100.0 %"),
        (1, 1_000_000, "< 0.1 %"),
        (999_999, 1_000_000, "> 99.9 %"),
        (None, 1, "–"),
        (1, 0, "–"),
    ],
)
def test_a_share_never_rounds_to_none_or_all(part: int | None, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_sizes_are_written_in_units() -> None:
    assert [size(value) for value in (None, 0, 1023, 1536, 3 << 40)] == [
        "–",
        "0 B",
        "1023 B",
        "1.5 KiB",
        "3.0 TiB",
    ]
