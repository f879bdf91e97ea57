"""Test the endpoint and the pure parts of the client: URLs, passwords and tokens."""

from __future__ import annotations

import errno
import os
import pickle
import struct
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from urllib3.exceptions import ProtocolError

from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.endpoint import PASSWORD_VARIABLE, Endpoint
from raypipe.clickhouse.inserts import require_names, require_ranges
from raypipe.clickhouse.response import ResponseBody
from raypipe.clickhouse.server_errors import translate
from raypipe.errors import ConfigError, DataError, Denied, ServerError, Transient, UsageError

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "address", "user", "database"),
    [
        ("http://h", "http://h:8123", "default", "default"),
        ("https://h", "https://h:8443", "default", "default"),
        ("https://ann@click.example:9440/news", "https://click.example:9440", "ann", "news"),
        ("http://a%40b@h:1/", "http://h:1", "a@b", "default"),
        ("http://ann@[::1]:8123/d", "http://[::1]:8123", "ann", "d"),
    ],
)
def test_a_url_tells_address_user_and_database(url: str, address: str, user: str, database: str) -> None:
    found = Endpoint.parse(url)
    assert (found.url, found.user, found.database) == (address, user, database)


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://h/d",
        "h:8123",
        "",
        "http://",
        "http://h:port/d",
        "http://h:99999/d",
        "http://[::1/d",
        "http://h/d?database=x",
        "http://h/d#x",
        "http://h/a.b",
    ],
)
def test_a_url_that_cannot_be_used_is_shown_with_the_form_it_should_have(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Endpoint.parse(url)
    assert "http(s)://user@host:port/database" in str(refused.value)


@pytest.mark.parametrize("url", ["http://h/d;DROP", "http://h/a%60b", "http://h/a%20b"])
def test_a_database_that_is_no_name_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="This name cannot be used"):
        Endpoint.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        f"http://ann:{SECRET}@h/d",
        f"http://:{SECRET}@h/d",
        f"clickhouse://ann:{SECRET}@h/d",
        f"http://ann:{SECRET}/x@h/d",
        f"http://ann:{SECRET}#x@h/d",
        f"http://ann:12/{SECRET}@h/d",
        f"http://ann:{SECRET}@x@h:port/d",
        f"http://h/d?user=ann&password={SECRET}",
        f"ann:{SECRET}@h",
        f"//ann:{SECRET}@h",
        f"http://an/n:{SECRET}@h/d",
        f"http://ann:x@{SECRET}@h:port/d",
    ],
)
def test_a_password_in_the_url_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Endpoint.parse(url)
    seen = [str(refused.value), repr(refused.value), str(refused.value.__cause__), str(refused.value.found)]
    assert not [text for text in seen if SECRET in text]
    assert "***" in str(refused.value.found)


def test_an_endpoint_shows_everything_but_the_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    secret = tmp_path / "password"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    for endpoint in (Endpoint.parse("http://ann@h/d"), Endpoint.parse("http://ann@h/d", str(secret))):
        assert endpoint.password() == SECRET
        assert str(endpoint) == "http://ann@h:8123/d"
        assert SECRET not in repr(endpoint)
        assert SECRET.encode() not in pickle.dumps(endpoint)
        assert pickle.loads(pickle.dumps(endpoint)) == endpoint


def test_without_a_file_the_password_comes_from_the_environment_or_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint.parse("http://h")
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert endpoint.password() == ""
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    assert endpoint.password() == SECRET


def test_the_password_file_outweighs_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "other")
    secret = tmp_path / "password"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o400)
    assert Endpoint.parse("http://h", str(secret)).password() == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "password"
    secret.write_text(SECRET)
    secret.chmod(mode)
    with pytest.raises(ConfigError, match="readable by others") as refused:
        Endpoint.parse("http://h", str(secret)).password()
    assert f"chmod 600 {secret}" in str(refused.value)
    assert SECRET not in str(refused.value)


def acl(*, user: int, group: int = 0) -> bytes:
    """An access control list as Linux keeps it: the owner and one user may read, the group what is given."""
    everybody = 0xFFFFFFFF
    # The owner, the named user, the owning group, the mask, the others.
    entries = [(1, 4, everybody), (2, 4, user), (4, group, everybody), (16, 4, everybody), (32, 0, everybody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def listed(path: Path, entries: bytes) -> Path:
    """A password file with an access control list, as systemd makes one of `LoadCredential=`."""
    path.write_text(SECRET)
    path.chmod(0o400)
    try:
        os.setxattr(path, "system.posix_acl_access", entries)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("this file system has no access control lists")
    # The mask shows where a group's rights would stand.
    assert path.stat().st_mode & 0o777 == 0o440
    return path


def test_a_credential_of_systemd_is_taken_although_its_mode_shows_the_mask_of_its_list(tmp_path: Path) -> None:
    secret = listed(tmp_path / "credential", acl(user=os.geteuid()))
    assert Endpoint.parse("http://h", str(secret)).password() == SECRET


@pytest.mark.parametrize(
    "entries", [acl(user=os.geteuid() + 1), acl(user=os.geteuid(), group=4)], ids=["another user", "a group"]
)
def test_a_list_that_lets_others_read_a_password_file_is_refused(tmp_path: Path, entries: bytes) -> None:
    secret = listed(tmp_path / "credential", entries)
    with pytest.raises(ConfigError, match="readable by others"):
        Endpoint.parse("http://h", str(secret)).password()


def test_a_password_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        Endpoint.parse("http://h", str(tmp_path / "nowhere")).password()


def test_a_password_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_bytes(b"\xff\xfe")
    secret.chmod(0o600)
    with pytest.raises(ConfigError, match=f"{secret} cannot be read"):
        Endpoint.parse("http://h", str(secret)).password()


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("http://127.0.0.1", True), ("http://localhost:9", True), ("http://[::1]", True), ("http://10.0.0.1", False)],
)
def test_loopback_is_known_by_its_address(url: str, loopback: bool) -> None:
    assert Endpoint.parse(url).is_loopback is loopback


def test_a_token_depends_on_every_part_and_on_where_it_ends() -> None:
    token = content_token("run", 1, "ab")
    assert token == content_token("run", 1, "ab")
    others = [("run", 1, "ac"), ("run", 2, "ab"), ("run", "1", "ab"), ("run", 1, "a", "b"), (1, "run", "ab")]
    assert token not in {content_token(*parts) for parts in others}


class Broken:
    """A body that breaks off, as urllib3 tells it."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def read(self, size: int = -1) -> bytes:
        cut = ConnectionError("broken")
        cut.partial = self._text  # type: ignore[attr-defined]
        raise ProtocolError("Connection broken", cut)


def test_a_body_that_ends_in_the_servers_exception_raises_that() -> None:
    text = b"\x00\xff__exception__\r\nab\r\nCode: 241. DB::Exception: Memory limit exceeded\n 51 ab\r\n__exception__"
    with pytest.raises(ServerError, match="Memory limit exceeded") as failed:
        ResponseBody(Broken(text), "http://h").read(10)
    assert failed.value.code == 241


@pytest.mark.parametrize(("code", "kind"), [(241, ServerError), (210, Transient), (999, Transient), (497, Denied)])
def test_an_error_within_a_body_is_translated_as_one_before_it(code: int, kind: type[ServerError]) -> None:
    text = f"__exception__\r\nab\r\nCode: {code}. DB::Exception: broken\n 51 ab\r\n__exception__"
    with pytest.raises(ServerError) as failed:
        ResponseBody(Broken(text.encode()), "http://h").read(10)
    before = translate(DatabaseError(f"Code: {code}. DB::Exception: broken"), "http://h")
    assert type(failed.value) is type(before) is kind
    assert (failed.value.problem, failed.value.next_step) == (before.problem, before.next_step)


def test_a_body_that_ends_without_one_stays_a_broken_connection() -> None:
    with pytest.raises(ProtocolError):
        ResponseBody(Broken(b"\x00\xff"), "http://h").read(10)


def test_columns_that_are_missing_or_unknown_are_named() -> None:
    require_names("t", ["a", "b"], ["b", "a"])
    with pytest.raises(DataError) as refused:
        require_names("t", ["a", "b"], ["b", "c"])
    assert refused.value.found == "no a; unknown c"


def test_columns_without_dates_are_not_looked_at() -> None:
    data = pa.table({"a": pa.array([-1, None]), "b": pa.array([None, None], pa.date32())})
    require_ranges("t", data, {"a": "Date", "b": "Nullable(Date)"})


def test_a_ca_file_that_cannot_be_used_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for path in (tmp_path / "absent.pem", tmp_path / "empty.pem"):
        with pytest.raises(ConfigError, match=f"The CA file {path} cannot be used"):
            Client(Endpoint.parse("https://127.0.0.1:9/d", ca_file=str(path)))
    with pytest.raises(ServerError, match="No ClickHouse answers"):
        Client(Endpoint.parse("http://127.0.0.1:9/d", ca_file=str(path)))


def test_a_profile_that_is_refused_leaves_no_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    driver = SimpleNamespace(server_settings={}, close=lambda: closed.append(True))
    monkeypatch.setattr("raypipe.clickhouse.driver._connected", lambda *_: driver)
    with monkeypatch.context() as patch:
        patch.setattr("raypipe.clickhouse.pins.pin", Mock(side_effect=ConfigError("refused")))
        with pytest.raises(ConfigError, match="refused"):
            Client(Endpoint.parse("http://h"))
    assert closed == [True]


def test_a_client_for_a_url_without_a_server_says_so_before_anything_else() -> None:
    with pytest.raises(ServerError, match="No ClickHouse answers"):
        Client(Endpoint.parse("http://127.0.0.1:9/d"))
