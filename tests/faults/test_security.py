"""Test hostile input: names that are SQL, changed models, leaked passwords, unknown servers."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import numpy as np
import pytest
import ray
from ray import cloudpickle
from typer.testing import CliRunner

from raypipe.artifact import contract, files, golden, package, stores
from raypipe.artifact.package import load_card, load_package
from raypipe.cli import app
from raypipe.clickhouse import topology
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import PASSWORD_VARIABLE, Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import literal
from raypipe.data.slices import Slice, Slicing
from raypipe.errors import ModelError, ServerError, Unreachable, UsageError
from raypipe.models.xgboost import FILE, XGBoost
from raypipe.project import shipped
from raypipe.score import runs, staging
from raypipe.score.manifest import Manifest, PublishTarget
from tests.conftest import FittedPublisher, _fresh_database, fit_publisher
from tests.faults.nights import DAY, KEYS, SOURCE, TARGETS, Night, key, own_night, row
from tests.faults.oracle import in_process
from tests.faults.proxy import Rule, proxied
from tests.faults.test_data import promote

PATIENCE = 120
NOWHERE = "http://127.0.0.1:1/default"


@pytest.fixture
def night(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    with own_night(fitted_publisher) as made:
        yield made


NAMES = ["a.b; DROP TABLE x", "a`b", "a.b.c", "x'); DROP TABLE y; --"]
PLACES = [
    "source.table",
    "source.date_column",
    "entity.id",
    "entity.keys.0",
    "carry.0",
    "features.0.name",
    "publish.0.target",
]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record every address that a socket should connect to, and connect to none."""
    asked: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return asked


def command(*arguments: str, url: str = NOWHERE) -> Any:
    known = {"RAYPIPE_URL": url}
    named = [*arguments, "--config", str(shipped() / "configs")]
    return CliRunner().invoke(app, named, prog_name="raypipe", env=known)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", PLACES)
def test_a_name_in_the_config_that_is_sql_is_refused_before_anything_is_reached(
    connections: list[Any], place: str, name: str
) -> None:
    # `run` reads every one of these keys.
    result = command("run", "churn", "--set", f"{place}={json.dumps(name)}")
    assert result.exit_code == 2, result.output
    assert place.split(".")[0] in result.stderr
    assert connections == []


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_that_is_sql_is_refused_before_anything_is_reached(connections: list[Any], name: str) -> None:
    assert command("score", name).exit_code == 2
    assert connections == []


@pytest.mark.parametrize("name", NAMES)
def test_a_database_that_is_sql_is_refused_before_anything_is_reached(connections: list[Any], name: str) -> None:
    assert command("plan", "churn", url=f"http://127.0.0.1:1/{name}").exit_code == 2
    assert connections == []


def test_with_plain_names_the_server_is_asked(connections: list[Any]) -> None:
    assert command("plan", "churn", "--set", "source.table=a.b").exit_code == 1
    assert connections


SQL_NAME = "churn_x`; DROP TABLE raypipe_runs; --"


def touched(manifest: Manifest, place: str) -> Manifest:
    """Return a manifest that was changed in the ledger."""
    if place == "run":
        return replace(manifest, run_id=SQL_NAME)
    if place == "key":
        return replace(manifest, keys=(*manifest.keys[:-1], SQL_NAME))
    return replace(manifest, targets=(PublishTarget(SQL_NAME, manifest.targets[0].sql),))


@pytest.mark.parametrize("place", ["run", "key", "target"])
def test_a_manifest_with_a_name_that_is_sql_publishes_nothing(night: Night, place: str) -> None:
    before, manifest = night.content(), touched(night.plan(), place)
    with pytest.raises(UsageError, match="This name cannot be used"):
        night.run(Manifest.from_json(manifest.to_json()))
    assert night.content() == before
    assert night.client.value("SELECT count() FROM raypipe_runs") > 0


def test_without_looking_at_names_the_text_reaches_the_server(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = touched(night.plan(), "key")
    for module in (contract, staging, topology):
        monkeypatch.setattr(module, "identifier", lambda name: f"`{name}`")
    with pytest.raises(ServerError) as refused:
        night.run(manifest)
    assert refused.value.code == 62


VALUES = [
    "'); DROP TABLE x; --",
    "a`b\"c\\'d\\",
    "{slice} {date:Date} {run_id}",
    "%s %(a)s 100%",
    "tab\tline\nend",
    "Ж漢🙂",
]


def rename(night: Night, value: str) -> None:
    """Rename users, brand and company to a value."""
    text = literal(value)
    night.client.run(
        f"INSERT INTO {SOURCE} SELECT * REPLACE (concat({text}, user_id) AS user_id, {text} AS brand_id,"
        f" {text} AS company_id, {text} AS current_subscription_tier) FROM ({row(key(night, 'first'))})"
    )


def parted_at(manifest: Manifest, bound: tuple[str, str, str]) -> Manifest:
    """Return the same run in two slices that meet at a key."""
    slices = (Slice(0, upper=bound), Slice(1, lower=bound))
    return replace(manifest, slicing=Slicing("index", tuple(KEYS.split(", ")), ("String",) * 3, slices))


@pytest.mark.fast
def test_values_that_look_like_sql_are_scored_and_published_as_they_are(night: Night) -> None:
    night.client.run("CREATE TABLE x (n UInt8) ENGINE = Memory")
    for value in VALUES:
        rename(night, value)
    run_id = night.run(parted_at(night.plan(), (VALUES[0],) * 3))
    night.assert_exact(run_id)
    sql = f"SELECT count() FROM {TARGETS[1]} WHERE brand_id = {{value:String}} AND startsWith(entity_id, brand_id)"
    assert [night.client.value(sql, {"value": value}) for value in VALUES] == [1] * len(VALUES)
    assert night.client.value("EXISTS TABLE x") == 1


def test_without_binding_a_bound_that_looks_like_sql_breaks_the_statement(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename(night, VALUES[0])
    manifest = parted_at(night.plan(), (VALUES[0],) * 3)
    bound = Slicing.predicate

    def written_out(self: Slicing, piece: Slice, alias: str = "") -> str:
        text = bound(self, piece, alias)
        for name, value in self.parameters(piece).items():
            text = text.replace(f"{{{name}:String}}", f"'{value}'")
        return text

    monkeypatch.setattr(Slicing, "predicate", written_out)
    before = night.content()
    with pytest.raises(ServerError):
        night.run(manifest)
    assert night.content() == before


def files_of(night: Night) -> dict[str, bytes]:
    """Return the champion's verified files."""
    manifest = night.plan()
    return stores.at(manifest.artifact_uri, night.client).open(manifest.artifact_sha256)


def own_model(night: Night, folder: Path, changes: Mapping[str, bytes] | None = None) -> Manifest:
    """Plan a run with a copy of the champion with some changed files."""
    standing = night.plan()
    card = load_card(standing.artifact_uri, standing.artifact_sha256, night.client)
    promote(night, {**files_of(night), **(changes or {})}, card.contract, folder)
    manifest = night.plan()
    assert manifest.artifact_uri.startswith(str(folder))
    return manifest


@contextmanager
def flipped(path: Path, position: int) -> Iterator[None]:
    """Return a file with one bit changed."""
    whole = path.read_bytes()
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    try:
        yield
    finally:
        path.write_bytes(whole)


class _Json:
    """The json module, which records the parsed texts."""

    def __init__(self, parsed: list[str]) -> None:
        self._parsed = parsed

    def loads(self, text: Any) -> Any:
        self._parsed.append("manifest.json")
        return json.loads(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the parsed files of an artifact, including its table of contents."""
    seen: list[str] = []

    def told(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            seen.append(what)
            return real(*arguments)

        return call

    monkeypatch.setattr(files, "json", _Json(seen))
    monkeypatch.setattr(package, "_card", told("card", package._card))
    monkeypatch.setattr(golden, "_rows", told("golden.arrow", golden._rows))
    monkeypatch.setattr(XGBoost, "from_files", told(FILE, XGBoost.from_files))
    return seen


@pytest.mark.parametrize("name", [FILE, "contract.json", "decision.json", "histograms.json", "golden.arrow"])
def test_one_changed_bit_of_an_artifact_is_refused_before_any_of_its_files_is_parsed(
    night: Night, tmp_path: Path, parsed: list[str], name: str
) -> None:
    manifest, before = own_model(night, tmp_path), night.content()
    path = Path(manifest.artifact_uri) / name
    with flipped(path, path.stat().st_size // 2):
        parsed.clear()
        with pytest.raises(ModelError, match="was changed") as refused:
            night.run(manifest)
        assert name in str(refused.value)
        assert set(parsed) <= {"manifest.json"}
    assert night.content() == before
    assert night.status(manifest) == runs.FAILED
    night.assert_exact(night.resume(manifest))


def test_one_changed_bit_of_an_artifacts_table_of_contents_is_refused_unparsed(
    night: Night, tmp_path: Path, parsed: list[str]
) -> None:
    manifest = own_model(night, tmp_path)
    with flipped(Path(manifest.artifact_uri) / "manifest.json", 20):
        parsed.clear()
        with pytest.raises(ModelError, match="was changed"):
            night.run(manifest)
        assert parsed == []


def test_without_the_hashes_a_model_with_a_changed_bit_decides(
    night: Night, tmp_path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = own_model(night, tmp_path)
    path = Path(manifest.artifact_uri) / "decision.json"
    digits = path.read_bytes().index(b'"threshold": 0.') + len(b'"threshold": 0.')
    with flipped(path, digits):
        monkeypatch.setattr(files, "_require", lambda *_: None)
        parsed.clear()
        changed = load_card(manifest.artifact_uri, manifest.artifact_sha256, night.client)
        assert changed.threshold != manifest.threshold
        night.assert_exact(night.run(manifest))
        assert {FILE, "card", "golden.arrow"} <= set(parsed)


class Bomb:
    """Create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self._path, "w")


def bombed(night: Night, folder: Path, mark: Path, protocol: int) -> None:
    """Provide a champion with a pickle as its model and correct hashes."""
    standing = night.plan()
    card = load_card(standing.artifact_uri, standing.artifact_sha256, night.client)
    content = {**files_of(night), FILE: pickle.dumps(Bomb(mark), protocol)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_refuse_code", lambda *_: None)
        promote(night, content, card.contract, folder)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_in_the_place_of_a_model_is_refused_and_never_loaded(
    night: Night, tmp_path: Path, protocol: int
) -> None:
    before = night.content()
    bombed(night, tmp_path / "artifacts", tmp_path / "mark", protocol)
    # The first two protocols are text. Only the model's own format tells them from a model.
    with pytest.raises(ModelError, match="is a pickle" if protocol >= 2 else "is not an XGBoost model"):
        night.score()
    assert not (tmp_path / "mark").exists()
    assert night.content() == before


def test_without_these_refusals_the_pickle_runs(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bombed(night, tmp_path / "artifacts", tmp_path / "mark", 4)
    monkeypatch.setattr(files, "_refuse_code", lambda *_: None)
    monkeypatch.setattr(XGBoost, "from_files", lambda self, files: pickle.loads(files[FILE]))
    with pytest.raises(AttributeError):
        night.score()
    assert (tmp_path / "mark").exists()


def other_golden(night: Night) -> dict[str, bytes]:
    """Return the golden rows with one score slightly changed."""
    manifest = night.plan()
    model = load_package(manifest.artifact_uri, manifest.artifact_sha256, night.client).model
    rows, scores = golden._rows(files_of(night)["golden.arrow"])
    assert np.allclose(model.predict(rows.x), scores, atol=1e-5)
    changed = np.array(scores, np.float32)
    changed[len(changed) // 2] += 0.001
    return {"golden.arrow": golden.golden(rows, changed)}


def test_one_golden_row_that_is_scored_differently_stops_the_run(night: Night, tmp_path: Path) -> None:
    before, manifest = night.content(), own_model(night, tmp_path, other_golden(night))
    with pytest.raises(ModelError, match=r"1 of \d+ rows differ"):
        night.run(manifest)
    assert night.content() == before
    assert night.status(manifest) == runs.FAILED


def test_without_the_golden_rows_it_is_published(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = own_model(night, tmp_path, other_golden(night))
    monkeypatch.setattr(golden, "check_golden", lambda *_: 0)
    night.assert_exact(night.run(manifest))


@pytest.fixture(scope="module")
def guarded(fitted_publisher: FittedPublisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FittedPublisher]:
    """Provide a fitted publisher on a server with a password: the session's, or else an embedded engine."""
    if fitted_publisher.endpoint.password():
        yield fitted_publisher
        return
    folder = tmp_path_factory.mktemp("guarded")
    with open_embedded(folder / "clickhouse") as lease, _fresh_database(lease.endpoint) as filled:
        with Client(filled) as connected:
            migrate(connected)
        yield fit_publisher(filled, folder / "artifacts")


@pytest.fixture(scope="module")
def canary(guarded: FittedPublisher) -> str:
    """Return the server's own password."""
    return guarded.endpoint.password()


@pytest.fixture
def guarded_night(guarded: FittedPublisher) -> Iterator[Night]:
    with own_night(guarded) as made:
        yield made


def command_lines() -> dict[str, bytes]:
    """Return the command line of every process by its id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[path.parent.name] = path.read_bytes()
    return found


def holding(secret: str, folder: Path) -> list[Path]:
    """Return the files of a folder that contain a text."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and secret.encode() in path.read_bytes():
                found.append(path)
    return found


def rows_holding(client: Client, secret: str, table: str) -> int:
    """Return the rows of a table that contain a text anywhere."""
    sql = f"SELECT countIf(position(toString(tuple(*)), {{secret:String}}) > 0) FROM {table}"
    return int(client.value(sql, {"secret": secret}))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Create a folder with a path short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="rp", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_password_is_on_no_command_line_in_no_log_and_in_no_row(
    guarded_night: Night, canary: str, short_folder: Path, tmp_path: Path
) -> None:
    with proxied(guarded_night.publisher.endpoint.url) as proxy:
        at = replace(guarded_night.publisher.endpoint, url=proxy.url, password_file=None)
        publisher = replace(guarded_night.publisher, endpoint=at)
        ray = {"RAY_ADDRESS": "local", "RAY_TMPDIR": str(short_folder)}
        environment = {**publisher.environment(), PASSWORD_VARIABLE: canary, **ray}
        held = proxy.add(Rule(b"INSERT INTO `raypipe_staging_", "hold"))
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            process = subprocess.Popen(
                [*publisher.command("score", "churn", "--date", DAY.isoformat()), "--debug"],
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        assert held.hit.wait(PATIENCE), (tmp_path / "err").read_text()
        lines = command_lines()
        held.released.set()
        assert process.wait(PATIENCE) == 0, (tmp_path / "err").read_text()
    assert str(process.pid) in lines
    assert any(b"ray::ScoringActor" in line for line in lines.values())
    assert [line for line in lines.values() if canary.encode() in line] == []
    assert holding(canary, tmp_path) == []
    assert list(short_folder.rglob("*.out"))
    assert holding(canary, short_folder) == []
    for table in ("raypipe_runs", "raypipe_slices", "raypipe_rejected_rows", "ml_model_monitoring", "raypipe_aliases"):
        assert rows_holding(guarded_night.client, canary, table) == 0
    guarded_night.assert_exact(json.loads((tmp_path / "out").read_text())["run_id"])


def test_a_password_is_not_in_the_servers_log_of_queries(guarded_night: Night, canary: str) -> None:
    guarded_night.score()
    if not guarded_night.client.value("EXISTS TABLE system.query_log"):
        # No file can contain it.
        return
    guarded_night.client.run("SYSTEM FLUSH LOGS")
    sql = (
        "SELECT count() FROM system.query_log WHERE position(concat(query, exception, toString(Settings)), {it:String})"
    )
    assert guarded_night.client.value(f"{sql} > 0 AND current_database = currentDatabase()", {"it": canary}) == 0


def test_a_password_is_in_no_pickle_text_or_runtime_environment(
    guarded_night: Night, ray_session: None, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, canary)
    endpoint = replace(guarded_night.publisher.endpoint, password_file=None)
    with Client(endpoint) as client:
        assert endpoint.password() == canary
        for dumps in (pickle.dumps, cloudpickle.dumps):
            assert canary.encode() not in dumps(endpoint)
            with pytest.raises(TypeError, match="pickle"):
                dumps(client)
        shown = f"{endpoint!r} {endpoint} {client!r} {vars(endpoint)} {guarded_night.plan().to_json()}"
        assert canary not in shown
        with pytest.raises(ServerError) as refused:
            client.run("SELECT throwIf(1)")
    assert canary not in f"{refused.value!r} {refused.value} {refused.value.__cause__!r}"
    assert canary.encode() not in pickle.dumps(refused.value)
    context = ray.get_runtime_context()
    assert canary not in f"{context.get_runtime_env_string()} {context.runtime_env}"


@pytest.mark.parametrize("url", [NOWHERE, None], ids=["nowhere", "failing"])
def test_a_password_is_in_no_traceback(
    guarded_night: Night, canary: str, monkeypatch: pytest.MonkeyPatch, url: str | None
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, canary)
    monkeypatch.delenv("RAYPIPE_PASSWORD_FILE", raising=False)
    result = command("sql", "SELECT throwIf(1)", "--debug", url=url or str(guarded_night.publisher.endpoint))
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert canary not in result.output


def test_the_search_finds_a_password_where_one_is(night: Night, canary: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"connecting with {canary}")
    assert holding(canary, tmp_path) == [tmp_path / "log"]
    assert canary.encode() in pickle.dumps(replace(night.publisher.endpoint, user=f"default:{canary}"))
    night.client.run("CREATE TABLE leaky (a UInt8, b Tuple(String, String)) ENGINE = Memory")
    night.client.run("INSERT INTO leaky VALUES (1, ('x', concat('y', {it:String})))", {"it": canary})
    assert rows_holding(night.client, canary, "leaky") == 1
    with subprocess.Popen([sys.executable, "-c", "input()", canary], stdin=subprocess.PIPE) as process:
        assert canary.encode() in command_lines()[str(process.pid)]
        process.communicate(b"\n")


class TlsFront:
    """A TLS server that forwards to ClickHouse and counts the clients' bytes."""

    def __init__(self, target: str, certificate: Path, secret: Path) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, secret)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.received = 0
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A blocked accept() ends with the shutdown, not with the close.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return
        with suppress(OSError), client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                self.received += len(data)
                server.sendall(data)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a self-signed certificate and its key."""
    made, secret = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=raypipe"),
            *("-addext", f"subjectAltName={name}", "-keyout", str(secret), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return made, secret


@contextmanager
def behind_tls(night: Night, folder: Path, name: str = "IP:127.0.0.1") -> Iterator[tuple[TlsFront, Endpoint, str]]:
    """Provide the night's server behind TLS, an endpoint that trusts the system's authorities, and a PEM file."""
    made, secret = certificate(folder, name)
    front = TlsFront(night.publisher.endpoint.url, made, secret)
    try:
        yield front, replace(night.publisher.endpoint, url=front.url), str(made)
    finally:
        front.close()


@pytest.mark.fast
def test_a_certificate_that_nobody_vouches_for_is_refused_before_a_byte_is_sent(night: Night, tmp_path: Path) -> None:
    with behind_tls(night, tmp_path) as (front, endpoint, _):
        with pytest.raises(Unreachable, match=r"(?i)certificate.verify.failed"):
            Client(endpoint)
        assert front.received == 0


def test_a_certificate_for_another_host_is_refused_before_a_byte_is_sent(night: Night, tmp_path: Path) -> None:
    with behind_tls(night, tmp_path, "DNS:elsewhere.example") as (front, endpoint, pem):
        with pytest.raises(Unreachable, match=r"(?i)certificate.verify.failed|mismatch|doesn't match"):
            Client(replace(endpoint, ca_file=pem))
        assert front.received == 0


def test_a_certificate_of_the_ca_file_is_accepted_and_a_whole_run_goes_through(night: Night, tmp_path: Path) -> None:
    with behind_tls(night, tmp_path) as (front, endpoint, pem):
        through = replace(night.publisher, endpoint=replace(endpoint, ca_file=pem))
        run_id = in_process(through, night.plan()).run.run_id
        assert front.received > 0
    night.assert_exact(run_id)


def test_without_verifying_the_password_goes_to_whoever_answers(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clickhouse_connect.get_client
    monkeypatch.setattr(clickhouse_connect, "get_client", lambda **options: real(**{**options, "verify": False}))
    with behind_tls(night, tmp_path) as (front, endpoint, _):
        with Client(endpoint) as client:
            assert client.value("SELECT 1") == 1
        assert front.received > 0
