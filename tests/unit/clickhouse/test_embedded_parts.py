"""Test the parts of the embedded engine's protocol that need no engine."""

from __future__ import annotations

import fcntl
import gzip
import os
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from raypipe.clickhouse.facade.answers import exception_trailer
from raypipe.clickhouse.facade.codings import decoder, encoder
from raypipe.clickhouse.facade.failure import Failure
from raypipe.clickhouse.facade.folder import Folder, State
from raypipe.clickhouse.facade.form import parse_form
from raypipe.clickhouse.facade.request import Asked, is_allowed
from raypipe.errors import ConfigError

BODY = b"0123456789\r\n" * 100_000


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("lz4", lz4.frame.compress(BODY[:600_000]) + lz4.frame.compress(BODY[600_000:])),
        ("zstd", zstandard.compress(BODY[:600_000]) + zstandard.compress(BODY[600_000:])),
        ("", BODY),
    ],
)
def test_a_body_is_decoded_piece_by_piece(coding: str, packed: bytes) -> None:
    reading = decoder(coding)
    assert reading is not None
    assert b"".join(reading.decompress(packed[at : at + 1000]) for at in range(0, len(packed), 1000)) == BODY


@pytest.mark.parametrize("coding", ["lz4", "zstd", "gzip", "deflate"])
def test_what_is_encoded_can_be_decoded(coding: str) -> None:
    found, reading = encoder(f"br, {coding};q=0.5"), decoder(coding)
    assert found is not None
    assert reading is not None
    assert found[0] == coding
    assert reading.decompress(found[1].compress(BODY) + found[1].flush()) == BODY


def test_an_unknown_coding_has_no_decoder() -> None:
    assert decoder("br") is None


def test_a_form_has_values_and_files_with_every_byte() -> None:
    content = bytes(range(256)) + b"\r\n--b not the end\r\n"
    body = (
        b'--bound\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n'
        b'--bound\r\nContent-Disposition: form-data; name="t"; filename="t.tsv"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--bound--\r\n"
    )
    form = parse_form("multipart/form-data; boundary=bound", body)
    assert form is not None
    assert form.values == {"query": "SELECT 1"}
    assert form.files == {"t": content}


def test_parameters_settings_and_protocol_are_told_apart() -> None:
    url = {
        "query": "SELECT 1",
        "param_x": "1",
        "max_threads": "2",
        "session_id": "s",
        "t_format": "CSV",
        "t_types": "Int8",
    }
    asked = Asked.from_http(url, {}, {"t": b"1"})
    assert asked.settings == {"max_threads": "2"}
    assert asked.parameters == {"x": "1"}
    assert (asked.tables[0].structure, asked.tables[0].format) == ("_1 Int8", "CSV")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"x-clickhouse-user": "default", "x-clickhouse-key": "secret"}, True),
        ({"x-clickhouse-key": "secret"}, True),
        ({"authorization": "Basic ZGVmYXVsdDpzZWNyZXQ="}, True),
        ({"authorization": "Basic ZGVmYXVsdDp3cm9uZw=="}, False),
        ({"authorization": "Basic ???"}, False),
        ({"x-clickhouse-user": "other", "x-clickhouse-key": "secret"}, False),
        ({}, False),
    ],
)
def test_only_the_user_with_the_password_is_allowed(headers: dict[str, str], allowed: bool) -> None:
    assert is_allowed({}, headers, "secret")[0] is allowed


def test_a_failure_keeps_the_engines_code_and_names_its_version_once() -> None:
    text = "Code: 60. DB::Exception: Table t does not exist. (UNKNOWN_TABLE)"
    failure = Failure.of(f"Streaming insert finish failed: {text}", "26.9.2.1")
    assert (failure.code, failure.status, failure.text) == (60, 404, f"{text} (version 26.9.2.1)")
    assert Failure.of(failure.text, "26.9.2.1").text == failure.text


def test_the_trailer_is_byte_for_byte_a_servers() -> None:
    # As ClickHouse 26.7 wrote it, with the length of the message and its line break.
    assert exception_trailer("Code: 1.", "abcdefghijklmnop") == (
        b"\r\n__exception__\r\nabcdefghijklmnop\r\nCode: 1.\n9 abcdefghijklmnop\r\n__exception__\r\n"
    )


class TestFolder:
    def test_a_shared_lock_keeps_the_owner_out_until_it_is_closed(self, tmp_path: Path) -> None:
        folder = Folder.create(tmp_path)
        shared = folder.lock("users.lock", fcntl.LOCK_SH)
        assert shared is not None
        assert folder.lock("users.lock", fcntl.LOCK_EX) is None
        os.close(shared)
        assert folder.lock("users.lock", fcntl.LOCK_EX) is not None

    def test_half_a_state_is_no_state(self, tmp_path: Path) -> None:
        folder = Folder.create(tmp_path)
        folder.write_state(State("http://127.0.0.1:1", 1, "0"))
        assert folder.read_state() == State("http://127.0.0.1:1", 1, "0")
        (tmp_path / "server.json").write_text('{"url": "http')
        assert folder.read_state() is None

    def test_a_database_of_chdb_itself_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        with pytest.raises(ConfigError, match="directly"):
            Folder.create(tmp_path)
