"""Test that a masked text shows an address, and no part of a password."""

import pytest

from raypipe.masking import masked

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"http://ann:{SECRET}@h:8123/d", "http://***@h:8123/d"),
        (f"http://ann:x@{SECRET}@h/d", "http://***@h/d"),
        (f"http://an/n:{SECRET}@h/d", "http://***@h/d"),
        (f"http://ann:{SECRET}\n#/?@h/d", "http://***"),
        (f"http://{SECRET}@h:8265", "http://***@h:8265"),
        (f"ann:{SECRET}@h/d", "***@h/d"),
        (f"//ann:{SECRET}@h", "//***@h"),
        (f"'//ann:{SECRET}@h'", "'//***@h'"),
        (f"ann:x//{SECRET}@h", "***@h"),
        (f"--url=https://ann:{SECRET}@h/d", "--url=https://***@h/d"),
        (f"A=http://ann:{SECRET}@h B=http://bob:{SECRET}@h", "A=http://***@h"),
        (f"http://h/d?user=ann&password={SECRET}", "http://h/d?***"),
        (f"http://h/d?password=x@{SECRET}", "http://***"),
        (f"h/d?password={SECRET}", "h/d?password=***"),
    ],
)
def test_no_part_of_a_password_is_shown(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize("text", ["http://h:8123/d", "chdb:.raypipe/clickhouse", "a@b", "s3://bucket/path", ""])
def test_a_text_without_a_password_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == text
