"""Test a job log that every connection sends from the beginning."""

from __future__ import annotations

import pytest

from raypipe.cluster.job_log import _Log


@pytest.mark.parametrize("chunks", [["abc", "def", "gh"], ["abcdefgh"], ["a", "bcdefg", "h"]])
def test_what_was_written_is_not_written_again_however_it_is_cut(chunks: list[str]) -> None:
    written: list[str] = []
    log = _Log(written.append)
    for text in ("abc", "d"):
        log(text)
    log.again()
    for text in chunks:
        log(text)
    assert "".join(written) == "abcdefgh"
