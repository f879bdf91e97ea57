"""Test artifacts in the table raypipe_artifacts: whole or not at all, verified, and apart from one another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raypipe.artifact import cache, files, stores, table
from raypipe.artifact.files import Artifact
from raypipe.artifact.table import TABLE, Table
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate_at, schema
from raypipe.config.shared import CLICKHOUSE
from raypipe.errors import ConfigError, ModelError
from raypipe.versions import retention

CHUNK = 1000
# Of three chunks, of exactly two, of one, and of none.
FILES = {
    "model.ubj": bytes(range(256)) * 10,
    "edge.bin": b"\x00\xff" * CHUNK,
    "contract.json": b'{"features": []}',
    "golden.arrow": b"",
}
OTHERS = {"model.ubj": b"others"}
# Uploads the files, and dies before the manifest is there.
KILLED = """
import os, signal, sys
from raypipe.artifact import table
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
insert = table.Table._insert
def dying(store, sha256, chunk, pieces, upload):
    if chunk == int(sys.argv[2]) or "manifest.json" in pieces:
        os.kill(os.getpid(), signal.SIGKILL)
    insert(store, sha256, chunk, pieces, upload)
table.Table._insert, table.CHUNK_BYTES = dying, 1000
with Client(Endpoint.parse(sys.argv[1], sys.argv[3] or None)) as client:
    table.Table(client).put({"model.ubj": bytes(range(256)) * 10, "contract.json": b"{}"})
"""


@pytest.fixture(autouse=True)
def _fresh_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(table, "CHUNK_BYTES", CHUNK)


@pytest.fixture(scope="module")
def place(endpoint: Endpoint) -> Iterator[Endpoint]:
    """A database with the tables that artifacts need."""
    place = replace(endpoint, database=f"raypipe_test_artifacts_{os.getpid()}")
    migrate_at(place, [item for item in schema() if item.name in (TABLE, "ml_model_registry")])
    yield place
    with Client(endpoint) as admin:
        admin.run(f"DROP DATABASE {place.database} SYNC")


@pytest.fixture
def client(place: Endpoint) -> Iterator[Client]:
    with Client(place) as connected:
        connected.run(f"TRUNCATE TABLE {TABLE}")
        yield connected


@pytest.fixture
def store(client: Client) -> Table:
    return Table(client)


def forget() -> None:
    """Become a machine without copies."""
    for copy in cache.root().glob("*/*"):
        cache._remove(copy)
    assert list(cache.root().glob("*/*")) == []


def test_files_of_any_size_come_back_from_their_chunks(store: Table, client: Client) -> None:
    stored = store.put(FILES)
    assert stored == Artifact(f"clickhouse://raypipe_artifacts/{stored.sha256}", stored.sha256)
    assert store.open(stored.sha256) == FILES
    chunks = dict(client.rows(f"SELECT file, max(chunk) + 1 FROM {TABLE} GROUP BY file"))
    assert chunks == {"model.ubj": 3, "edge.bin": 2, "contract.json": 1, "golden.arrow": 1, "manifest.json": 1}
    store.check(stored.sha256)


def test_the_address_of_the_registry_leads_to_the_table(client: Client) -> None:
    stored = stores.at(CLICKHOUSE, client).put(FILES)
    assert stores.at(stored.uri, client).open(stored.sha256) == FILES
    with pytest.raises(ConfigError, match="no ClickHouse is at hand"):
        stores.at(stored.uri, None)


CHANGES: dict[str, tuple[str, str]] = {
    "a changed byte": ("model.ubj", "chunk = 1 AND file = 'model.ubj'"),
    "a truncated file": ("model.ubj", "chunk = 2 AND file = 'model.ubj'"),
    "a hole": ("model.ubj", "chunk = 1 AND file = 'model.ubj'"),
    "a changed manifest": ("manifest.json", "file = 'manifest.json'"),
}


def change(client: Client, what: str) -> str:
    """Do damage to the only artifact, and return the name of its file."""
    name, condition = CHANGES[what]
    if "changed" in what:
        client.run(
            f"INSERT INTO {TABLE} SELECT * REPLACE (concat('?', substring(bytes, 2)) AS bytes, now64(6) AS written_at)"
            f" FROM (SELECT * FROM {TABLE} WHERE {condition})"
        )
    else:
        client.run(f"ALTER TABLE {TABLE} DELETE WHERE {condition}", settings={"mutations_sync": 2})
    return name


@pytest.mark.parametrize("what", CHANGES)
def test_rows_that_were_changed_are_refused_with_both_hashes(store: Table, client: Client, what: str) -> None:
    stored = store.put(FILES)
    name = change(client, what)
    for ask in (store.open, store.check):
        with pytest.raises(ModelError, match="A file of the artifact was changed") as refused:
            ask(stored.sha256)
        assert f"{stored.uri}/{name}" in str(refused.value)
        assert str(refused.value).count("sha256 ") == 2
        assert "fit a new version" in str(refused.value)
    assert list(cache.root().glob("*/*")) == [], "a copy of what was refused"


def test_without_the_comparison_of_hashes_the_changed_bytes_would_score(
    store: Table, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store.put(FILES)
    change(client, "a changed byte")
    monkeypatch.setattr(files, "_require", lambda path, content, sha256: None)
    assert store.open(stored.sha256)["model.ubj"] != FILES["model.ubj"]


def test_a_file_that_the_manifest_does_not_list_is_refused(store: Table, client: Client) -> None:
    stored = store.put(FILES)
    row = f"('{stored.sha256}', 'extra.json', 0, 2, '{{}}')"
    client.run(f"INSERT INTO {TABLE} (artifact_sha256, file, chunk, size, bytes) VALUES {row}")
    with pytest.raises(ModelError, match=r"(?s)does not list.*extra\.json"):
        store.open(stored.sha256)


@pytest.mark.parametrize("name", ["../../planted.json", "/tmp/planted.json", "a/b"])
def test_a_name_that_leads_out_of_the_copy_is_refused(store: Table, client: Client, tmp_path: Path, name: str) -> None:
    stored = store.put(FILES)
    values = {"sha256": stored.sha256, "name": name}
    client.run(
        f"INSERT INTO {TABLE} (artifact_sha256, file, chunk, size, bytes)"
        " SELECT {sha256:String}, {name:String}, 0, 2, '{}'",
        values,
    )
    with pytest.raises(ModelError, match="plain name"):
        store.open(stored.sha256)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_pickle_in_the_table_is_refused(store: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, "_refuse_code", lambda name, content: None)
        stored = store.put({"model.ubj": b"\x80\x04K\x01."})
    with pytest.raises(ModelError, match="pickle"):
        store.open(stored.sha256)


@pytest.mark.parametrize("sha256", ["", "../../etc", "ab" * 32])
def test_an_artifact_that_is_not_there_is_named(store: Table, sha256: str) -> None:
    with pytest.raises(ModelError, match=f"The artifact {'ab' * 6} is not there|not the hash of an artifact"):
        store.open(sha256)


@pytest.mark.parametrize("chunk", [1, 9])
def test_an_upload_that_is_killed_leaves_nothing_visible_and_is_cleaned(
    place: Endpoint, store: Table, client: Client, chunk: int
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(place), str(chunk), place.password_file or ""], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    whole = store.put(FILES)
    left = [stored for stored in store.listed() if stored.name != whole.sha256]
    assert len(left) == 1
    with pytest.raises(ModelError, match="is not there"):
        store.open(left[0].name)
    now = datetime.now(UTC)
    assert retention.orphans(client, CLICKHOUSE, now) == [], "it may belong to a fit at work"
    orphans = retention.orphans(client, CLICKHOUSE, now + timedelta(days=2))
    assert {stored.name for stored in orphans} == {whole.sha256, left[0].name}
    assert store.delete(left) == left[0].bytes
    assert [stored.name for stored in store.listed()] == [whole.sha256]
    assert store.open(whole.sha256) == FILES


def test_uploads_at_once_do_not_disturb_one_another(place: Endpoint, store: Table) -> None:
    """Twelve uploads of four contents, each by a client of its own."""
    contents = [{**FILES, "model.ubj": bytes([number]) * 2500} for number in range(4)] * 3

    def put(content: dict[str, bytes]) -> Artifact:
        with Client(place) as own:
            return Table(own).put(content)

    with ThreadPoolExecutor(6) as pool:
        artifacts = list(pool.map(put, contents))
    assert len(set(artifacts)) == 4
    for artifact, content in zip(artifacts, contents, strict=True):
        assert store.open(artifact.sha256) == content
    assert len(store.listed()) == 4


def overtaken(store: Table, remove: Callable[[], object]) -> bool:
    """Return whether an artifact survives that is uploaded again right before its remains are removed."""
    stored = store.put(FILES)
    remove()
    try:
        store.check(stored.sha256)
    except ModelError:
        return False
    return True


def test_an_upload_survives_the_removal_of_an_earlier_one(store: Table) -> None:
    (listed,) = [store.find(store.put(FILES).sha256)]
    assert listed is not None
    assert overtaken(store, lambda: store.delete([listed]))


def test_without_its_time_a_removal_would_take_a_later_upload_along(store: Table) -> None:
    (listed,) = [store.find(store.put(FILES).sha256)]
    assert listed is not None
    assert not overtaken(store, lambda: store.delete([replace(listed, written_at=None)]))


def test_an_artifact_can_be_stored_again_after_its_deletion(store: Table) -> None:
    for _ in range(2):
        stored = store.put(FILES)
        listed = store.find(stored.sha256)
        assert listed is not None
        assert listed.bytes == sum(map(len, FILES.values())) + len(files.sealed(FILES)[0])
        assert abs((listed.written_at or datetime.max) - datetime.now(UTC)) < timedelta(minutes=1)
        store.check(stored.sha256)
        assert store.delete([listed]) == listed.bytes
        assert store.delete([listed]) == 0
        assert store.find(stored.sha256) is None


def test_a_database_without_the_table_is_refused_before_the_fit(place: Endpoint) -> None:
    with Client(place) as client:
        client.run(f"RENAME TABLE {TABLE} TO away")
        try:
            with pytest.raises(ConfigError, match="no table for artifacts") as refused:
                stores.at(CLICKHOUSE, client).require()
        finally:
            client.run(f"RENAME TABLE away TO {TABLE}")
        assert "`raypipe migrate`" in str(refused.value)
        stores.at(CLICKHOUSE, client).require()


class TestCopies:
    """The copies of this machine."""

    def test_a_second_use_asks_nothing_of_clickhouse(self, store: Table, client: Client) -> None:
        stored = store.put(FILES)
        store.open(stored.sha256)
        client.run(f"TRUNCATE TABLE {TABLE}")
        assert store.open(stored.sha256) == FILES
        with pytest.raises(ModelError, match="is not there"):
            store.check(stored.sha256)

    @pytest.mark.parametrize("damage", ["changed", "gone", "more"])
    def test_a_damaged_copy_is_made_anew(self, store: Table, caplog: pytest.LogCaptureFixture, damage: str) -> None:
        stored = store.put(FILES)
        store.open(stored.sha256)
        copy = cache.root() / stored.sha256[:2] / stored.sha256
        if damage == "changed":
            (copy / "model.ubj").write_bytes(b"other")
        elif damage == "gone":
            (copy / "manifest.json").unlink()
        else:
            (copy / "extra.json").write_bytes(b"{}")
        assert store.open(stored.sha256) == FILES
        assert f"the copy in {copy} is damaged" in caplog.text
        assert {path.name for path in copy.iterdir()} == {*FILES, "manifest.json"}

    def test_workers_of_a_machine_download_an_artifact_once(
        self, place: Endpoint, store: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored, downloads = store.put(FILES), []
        download = Table._download
        monkeypatch.setattr(Table, "_download", lambda own, *given: (downloads.append(given), download(own, *given))[1])

        def open_own(_: int) -> dict[str, bytes]:
            with Client(place) as own:
                return Table(own).open(stored.sha256)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(open_own, range(16))) == [FILES] * 16
        assert len(downloads) == 1
        assert len(list(cache.root().glob("*/*"))) == 1

    def test_the_longest_unused_copies_make_room(self, store: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        artifacts = [store.put({"model.ubj": bytes([number]) * 2000}) for number in range(4)]
        monkeypatch.setattr(cache, "LARGEST_BYTES", 6000)
        for at, artifact in enumerate(artifacts[:2]):
            store.open(artifact.sha256)
            os.utime(cache.root() / artifact.sha256[:2] / artifact.sha256 / "manifest.json", (at, at))
            os.utime(cache.root() / artifact.sha256[:2] / artifact.sha256 / "model.ubj", (at, at))
        # Used once more, so that the second is the longest unused.
        store.open(artifacts[0].sha256)
        store.open(artifacts[2].sha256)
        kept = {path.name for path in cache.root().glob("*/*")}
        assert kept == {artifacts[0].sha256, artifacts[2].sha256}
        monkeypatch.setattr(cache, "LARGEST_BYTES", 1)
        assert store.open(artifacts[3].sha256)["model.ubj"] == bytes([3]) * 2000
        assert [path.name for path in cache.root().glob("*/*")] == [artifacts[3].sha256]

    def test_a_machine_without_a_home_keeps_its_copies_in_the_temporary_folder(
        self, store: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"")
        for name in ("XDG_CACHE_HOME", "HOME"):
            monkeypatch.setenv(name, str(tmp_path / "file"))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        stored = store.put(FILES)
        assert store.open(stored.sha256) == FILES
        assert cache.root() == tmp_path / f"raypipe-{os.getuid()}" / "artifacts"
