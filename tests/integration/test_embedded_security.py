"""What a process without the password can do to the embedded engine: ask whether it is there."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import urllib3

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import Lease, open_embedded
from raypipe.errors import Denied
from tests.engines import commands, engine_of

# `default` has no password, because ClickHouse starts the engine's own session as it.
ENTRANCES = {
    "nobody": ({}, ""),
    "default": ({"X-ClickHouse-User": "default"}, ""),
    "default by its name": ({"Authorization": "Basic " + b64encode(b"default:").decode()}, ""),
    "default by the URL": ({}, "user=default&password=&"),
    "default with more sessions": ({}, "max_sessions_for_user=9&"),
    "default in a named session": ({}, "session_id=mine&"),
    "default in a named session that is there": ({}, "session_id=mine&session_check=1&"),
    "default with a role": ({}, "role=admin&"),
    "raypipe without a password": ({"X-ClickHouse-User": "raypipe"}, ""),
    "raypipe with a wrong password": ({"X-ClickHouse-User": "raypipe", "X-ClickHouse-Key": "wrong"}, ""),
    "somebody unknown": ({"X-ClickHouse-User": "somebody"}, ""),
}
STATEMENTS = {
    "SELECT": "SELECT secret FROM default.kept",
    "a constant": "SELECT 'secret'",
    "INSERT": "INSERT INTO default.kept VALUES ('theirs')",
    "DROP": "DROP TABLE default.kept SYNC",
    "CREATE": "CREATE TABLE theirs (k UInt8) ENGINE = Memory",
    "a temporary table": "CREATE TEMPORARY TABLE theirs (k UInt8)",
    "SET": "SET max_sessions_for_user = 9",
    "stop listening": "SYSTEM STOP LISTEN HTTP",
    "start listening": "SYSTEM START LISTEN TCP",
    "shut down": "SYSTEM SHUTDOWN",
    "KILL": "KILL QUERY WHERE 1",
    "processes": "SELECT query FROM system.processes",
    "reading a file": "SELECT * FROM file('{folder}/password', LineAsString)",
    "writing a file": "INSERT INTO FUNCTION file('{folder}/theirs', CSV, 'k UInt8') VALUES (1)",
    "a URL": "SELECT * FROM url('{url}', LineAsString)",
    "a program": "SELECT * FROM executable('sh', TabSeparated, 'k UInt8', (SELECT 1))",
}
REFUSED = {"Code: 700", "Code: 516", "Code: 194"}


@pytest.fixture(scope="module")
def lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lease]:
    with open_embedded(tmp_path_factory.mktemp("embedded") / "engine") as opened:
        with Client(opened.endpoint) as client:
            client.run("CREATE TABLE kept (secret String) ENGINE = MergeTree ORDER BY secret")
            client.run("INSERT INTO kept VALUES ('secret')")
        yield opened


@pytest.fixture
def folder(lease: Lease) -> Path:
    assert lease.endpoint.password_file is not None
    return Path(lease.endpoint.password_file).parent


def asked(url: str, statement: str, headers: dict[str, str]) -> str:
    """The answer to a statement, whatever it is."""
    answer = urllib3.request("POST", url, body=statement, headers=headers, retries=False, timeout=10)
    return answer.data.decode()


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_without_the_password_no_statement_is_run(lease: Lease, folder: Path, entrance: str) -> None:
    headers, query = ENTRANCES[entrance]
    for name, text in STATEMENTS.items():
        statement = text.format(folder=folder, url=lease.endpoint.url)
        answers = {
            asked(f"{lease.endpoint.url}/?{query}", statement, headers),
            asked(f"{lease.endpoint.url}/?{query}query={quote(statement)}", "", headers),
        }
        assert all(answer[:9] in REFUSED for answer in answers), (name, answers)
        assert not any("secret" in answer for answer in answers)
    assert not (folder / "theirs").exists()
    with Client(lease.endpoint) as client:
        assert client.rows("SELECT secret FROM kept") == [("secret",)]
        assert client.rows("SHOW TABLES FROM default") == [("kept",)]


def test_a_wrong_password_is_denied(lease: Lease, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.touch(mode=0o600)
    wrong.write_text("wrong")
    with pytest.raises(Denied) as caught:
        Client(replace(lease.endpoint, password_file=str(wrong)))
    assert caught.value.code == 516


@pytest.mark.parametrize(
    "page",
    ["play", "dashboard", "binary", "merges", "jemalloc", "schema", "webterminal", "js/uplot.js", "replicas_status",
     "metrics", "query", "static/x", ""],
)  # fmt: skip
def test_the_port_serves_no_page(lease: Lease, page: str) -> None:
    answer = urllib3.request("GET", f"{lease.endpoint.url}/{page}", retries=False, timeout=10)
    assert answer.status in (401, 403, 404, 500), answer.data
    assert b"<html" not in answer.data


def test_anybody_may_ask_whether_the_engine_is_there(lease: Lease) -> None:
    assert urllib3.request("GET", f"{lease.endpoint.url}/ping", retries=False, timeout=10).data == b"Ok.\n"


def test_the_engine_listens_on_loopback_alone(lease: Lease) -> None:
    sockets = {os.readlink(path) for path in Path(f"/proc/{lease.pid}/fd").iterdir()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{lease.pid}/net/{table}").read_text().splitlines()[1:]:
            _, address, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                listening.append(address)
    port = urlsplit(lease.endpoint.url).port
    assert listening == [f"0100007F:{port:04X}"]


def test_its_files_are_private(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    open_to_others = [path for path in folder.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert len((folder / "password").read_text().strip()) > 30


def test_the_data_of_an_open_folder_is_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "data").mkdir(mode=0o755)
    with open_embedded(tmp_path):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_password_is_in_no_command_line_no_environment_and_no_log(lease: Lease, folder: Path) -> None:
    secret = lease.endpoint.password().encode()
    with Client(lease.endpoint) as client:
        assert secret.decode() not in json.dumps(client.rows("SELECT query FROM system.processes"))
    assert secret not in Path(f"/proc/{lease.pid}/cmdline").read_bytes()
    assert secret not in Path(f"/proc/{lease.pid}/environ").read_bytes()
    assert secret not in (folder / "server.log").read_bytes()


def test_the_engine_does_not_get_the_password_of_another_server(tmp_path: Path) -> None:
    with commands() as others:
        pid = engine_of(others.start(tmp_path, RAYPIPE_PASSWORD="canary"))
        assert b"canary" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_configuration_of_the_users_own_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".clickhouse-local").mkdir()
    (tmp_path / ".clickhouse-local" / "config.xml").write_text("<clickhouse><this is no XML>")
    with commands() as others:
        assert engine_of(others.start(tmp_path / "engine", HOME=str(tmp_path)))


def test_a_module_in_the_folder_takes_no_other_ones_place(tmp_path: Path) -> None:
    (tmp_path / "secrets.py").write_text("token_urlsafe = lambda _: 'known'\n")
    with open_embedded(tmp_path) as lease:
        assert lease.endpoint.password() != "known"
