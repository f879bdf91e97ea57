"""Keep artifacts as chunks in the table raypipe_artifacts, beside the registry that names them.

A file is uploaded and read chunk by chunk, so neither side ever holds more than a chunk of each file beside the files
themselves. The manifest is uploaded last: without it there is no artifact. Chunks are read into this machine's cache,
whose files are verified against the hash in the registry.
"""

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pyarrow as pa

from raypipe.artifact import cache, files
from raypipe.artifact.files import MANIFEST, Artifact, Stored
from raypipe.clickhouse import mutations
from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.schema import grants
from raypipe.clickhouse.schema.grants import Grant
from raypipe.clickhouse.statements import identifier, load
from raypipe.clickhouse.tables import describe
from raypipe.errors import ConfigError, Denied, ModelError
from raypipe.project import shipped

TABLE = "raypipe_artifacts"
ADDRESS = f"clickhouse://{TABLE}"
CHUNK_BYTES = 4 << 20
# Arrow's texts must be UTF-8, and a model is any bytes.
BINARY = {"output_format_arrow_string_as_string": 0}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Table:
    """The artifacts of the client's database."""

    client: Client

    def require(self) -> None:
        """Refuse a database without the table, and a user who may not write to it.

        Raises:
            ConfigError: the table is missing.
            Denied: the user lacks a grant.
        """
        if describe(self.client, TABLE) is None:
            raise ConfigError(
                f"{self.client.endpoint} has no table for artifacts",
                found=f"no {TABLE}",
                next_step="`raypipe migrate`, or set `artifacts` in the config to a folder",
            )
        name = f"{self.client.endpoint.database}.{TABLE}"
        lacking = grants.missing(self.client, [Grant(("SELECT", "INSERT"), name, identifier(name))])
        if lacking:
            raise Denied(
                f"{self.client.endpoint.user} may not store artifacts",
                found="; ".join(map(str, lacking)),
                next_step="grant them, see sql/grants.sql",
            )

    def put(self, content: Mapping[str, bytes]) -> Artifact:
        """Upload files as one artifact; a later upload of the same files replaces their rows by equal rows."""
        manifest, sha256 = files.sealed(content)
        # A repeated request counts once. An upload after a deletion must count, whatever the server remembers.
        upload = uuid.uuid4().hex
        for chunk, pieces in enumerate(_chunks(content)):
            self._insert(sha256, chunk, pieces, upload)
        self._insert(sha256, 0, {MANIFEST: manifest}, upload)
        return Artifact(f"{ADDRESS}/{sha256}", sha256)

    def open(self, sha256: str, *, pipeline: str = "", version: str = "") -> dict[str, bytes]:
        """Return the files of an artifact, from this machine's verified copy where there is one."""
        files.require_hash(sha256)
        verify = partial(files.load, sha256=sha256, pipeline=pipeline, version=version, copy_of=f"{ADDRESS}/{sha256}")
        return cache.opened(sha256, partial(self._download, sha256), verify)

    def check(self, sha256: str) -> None:
        """Download an artifact, whatever copies this machine has, and verify every byte."""
        with tempfile.TemporaryDirectory(prefix="raypipe-artifact-") as folder:
            self._download(sha256, Path(folder))
            files.load(folder, sha256, copy_of=f"{ADDRESS}/{sha256}")

    def find(self, sha256: str) -> Stored | None:
        """Return an uploaded artifact, or None."""
        return next(iter(self._listed(sha256)), None)

    def listed(self) -> list[Stored]:
        """List all artifacts, with those whose upload was interrupted."""
        return self._listed("")

    def delete(self, doomed: Sequence[Stored]) -> int:
        """Delete the rows of artifacts that were there when they were listed, and return their bytes."""
        there = {stored.name for stored in self.listed()}
        gone = [stored for stored in doomed if stored.name in there]
        if gone:
            # Whatever is uploaded after the listing is newer than all that was listed, and stays.
            newest = max(stored.written_at or datetime.now(UTC) for stored in gone)
            condition = "artifact_sha256 IN {names:Array(String)} AND toUnixTimestamp64Micro(written_at) <= {at:Int64}"
            parameters = {"names": [stored.name for stored in gone], "at": (newest - EPOCH) // MICROSECOND}
            mutations.rewrite(self.client, TABLE, condition, parameters)
        return sum(stored.bytes for stored in gone)

    def _insert(self, sha256: str, chunk: int, pieces: Mapping[str, bytes], upload: str) -> None:
        rows = pa.table(
            {
                "artifact_sha256": pa.array([sha256] * len(pieces)),
                "file": pa.array(list(pieces)),
                "chunk": pa.array([chunk] * len(pieces), pa.uint32()),
                "size": pa.array([len(piece) for piece in pieces.values()], pa.uint32()),
                "bytes": pa.array(list(pieces.values()), pa.binary()),
            }
        )
        token = content_token(upload, chunk, *pieces)
        self.client.insert(TABLE, rows, token=token, columns=rows.schema.names)

    def _download(self, sha256: str, folder: Path) -> None:
        """Write the files of an artifact, unverified, into an empty folder.

        Raises:
            ModelError: the table has no artifact of this hash.
        """
        sql = load(shipped() / "sql" / "registry" / "artifact_chunk.sql").text
        for chunk in count():
            rows = self.client.table(sql, {"sha256": sha256, "chunk": chunk}, BINARY)
            if chunk == 0 and MANIFEST.encode() not in rows.column("file").to_pylist():
                raise ModelError(
                    f"The artifact {sha256[:12]} is not there",
                    found=f"{rows.num_rows or 'no'} files and no {MANIFEST} in {TABLE} of {self.client.endpoint}",
                    next_step="restore the table, or fit a new version",
                )
            if not rows.num_rows:
                return
            for name, piece in zip(rows.column("file"), rows.column("bytes"), strict=True):
                with (folder / _plain(name.as_py())).open("ab") as file:
                    file.write(piece.as_buffer())

    def _listed(self, sha256: str) -> list[Stored]:
        sql = load(shipped() / "sql" / "registry" / "artifact_sizes.sql").text
        return [
            Stored(f"{ADDRESS}/{name}", name, size, EPOCH + micros * MICROSECOND)
            for name, size, micros in self.client.rows(sql, {"sha256": sha256})
        ]


def _chunks(content: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Yield the first chunk of each file, then the second of each that has one, and so on."""
    for start in count(0, CHUNK_BYTES):
        pieces = {name: body[start : start + CHUNK_BYTES] for name, body in content.items() if start <= len(body)}
        # An empty file has an empty chunk.
        pieces = {name: piece for name, piece in pieces.items() if piece or start == 0}
        if not pieces:
            return
        yield pieces


def _plain(name: bytes) -> str:
    """Return the name of a file, which must not lead out of its folder."""
    text = name.decode("utf-8", errors="backslashreplace")
    if text != MANIFEST:
        files.refuse_name(text)
    return text
